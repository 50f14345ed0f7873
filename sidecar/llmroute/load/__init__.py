"""YAML files that people write → LLMRoutes and Secrets, or all that is wrong with them, each with file, line and path.

Belongs here: reading the files, YAML as a tree that remembers its lines (`nodes`), the tree against the declared types
(`decode`), what must hold among several resources (`resources`), what is allowed but doubtful (`doubts`). Strict: what
Kubernetes would refuse or silently drop is an error here, and a scalar that YAML 1.1 and 1.2 read differently must be
quoted. An LLMRoute from the API server goes the same way (`objects`).
Does not belong here: the types (`spec`), rules within one resource (`rules`), keys in other places than the files.
Values of Secrets are in no error and no repr.
"""

from llmroute.load.objects import read_object
from llmroute.load.resources import Loaded, SecretValues, load, load_texts

__all__ = ["Loaded", "SecretValues", "load", "load_texts", "read_object"]
