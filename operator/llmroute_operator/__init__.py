"""The control plane: LLMRoutes in, configuration, status and sidecars out. Never on the path of a request.

The operator (`python -m llmroute_operator`) reconciles; the injector (`llmroute-injector`) is a stateless webhook. Pure
modules take objects as the API server gives them and return objects; only `cluster` talks to the API server.
"""
