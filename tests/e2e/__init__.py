"""The stories of LLMRoute on a real Kubernetes, with its scheduler, kubelet and webhooks; nothing is mocked.

Here belongs what an operator of a platform or the owner of an app would do and see. Each story has a namespace of its
own (`story`), all share one cluster (`cluster`) with one release of the chart (`llmroute`); what disturbs the others (a
control plane that is stopped, thousands of pods) is marked `last`.

    conftest    fixtures: the cluster with our images, the release, a story's namespace; what is shown when one fails
    cluster     kubectl, helm and waiting
    story       a namespace with simulated providers, routes and apps
    app/        the image of a user's app, which knows OpenAI's SDK and nothing of us

Seconds are reported (`report`), never asserted.
"""
