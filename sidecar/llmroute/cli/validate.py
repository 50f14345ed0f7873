"""`llmroute validate FILE...`: check files and say what is wrong and where."""

import argparse
import sys
from pathlib import Path

from llmroute.load import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `validate`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="YAML files with LLMRoutes and Secrets")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0 if all files are valid. Raises ConfigError otherwise."""
    loaded = load(arguments.files)
    for doubt in loaded.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    for route in loaded.routes:
        targets = ", ".join(target.name for target in route.spec.targets)
        print(f"{route.key}: valid; serves {', '.join(route.models)} from {targets}")
    return 0
