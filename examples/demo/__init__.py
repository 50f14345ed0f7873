"""`make demo`: simulated providers, one real sidecar, two real SDKs, and trouble on purpose, to be watched live.

Here belongs what a user sees in the first minute. All of it stands outside the product: the sidecar and the providers
are processes of their own, started as a user would start them, and everything shown was measured by the SDKs, read from
response headers, or read from /status. What is said to be saved was measured too: some requests go straight to each
provider at the same moment as through the sidecar.

    ledger          what was asked and how it ended, and statistics of it
    calls           one call with an SDK
    stage           the processes: providers and sidecar
    traffic         which calls are made when
    acts            what befalls the providers
    table, summary  what the user sees
"""
