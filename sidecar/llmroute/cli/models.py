"""`llmroute models FILE...`: the model names that the files serve, with their targets."""

import argparse
from pathlib import Path

from llmroute.load import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `models`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="YAML files with LLMRoutes")


def run(arguments: argparse.Namespace) -> int:
    """One line a model: its name, its route, its targets."""
    for route in load(arguments.files).routes:
        targets = ", ".join(f"{target.name} ({target.provider} {target.model})" for target in route.spec.targets)
        for model in route.models:
            print(f"{model}\t{route.key}\t{targets}")
    return 0
