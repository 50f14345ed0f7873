"""The command line: each command in a module of its own that adds its arguments and runs. No logic of the product."""

import argparse
import sys
from importlib import import_module

from llmroute import __version__
from llmroute.errors import ConfigError

COMMANDS = {
    "serve": ("llmroute.cli.serve", "serve the routes of the files"),
    "validate": ("llmroute.cli.validate", "check files and say what is wrong and where"),
    "models": ("llmroute.cli.models", "list the model names that the files serve, with their targets"),
    "simulate": ("llmroute.simulator", "run simulated providers"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command. Exit code 0: done, 1: found something wrong, 2: used wrongly or configured wrongly."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="llmroute", description="Sends every LLM call to the target that will answer it soonest."
    )
    parser.add_argument("--version", action="version", version=f"llmroute {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in argv if word in COMMANDS), None)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:  # import only what runs: the sidecar's start should not wait for other commands' imports
            import_module(module).add_arguments(command)
    arguments = parser.parse_args(argv)
    try:
        code: int = import_module(COMMANDS[arguments.command][0]).run(arguments)
    except ConfigError as error:
        print(f"llmroute: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code
