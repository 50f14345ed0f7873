module llmroute.dev/tests/cluster/pause

go 1.25
