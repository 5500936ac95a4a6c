"""The worker's command line; which part of it is loaded depends on the command."""

import argparse
import importlib
import importlib.util
import sys
from pathlib import Path

from gateway.tuning.worker.folder import Folder
from gateway.tuning.worker.needs import missing_libraries
from gateway.tuning.worker.processes import follow


def main(arguments: list[str]) -> int:
    """Trains, serves, or makes a model to rehearse with; 78 when this interpreter cannot."""
    parser = argparse.ArgumentParser(prog="gateway.tuning.worker")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="work on one job")
    train.add_argument("--job", type=Path, required=True, metavar="DIR")
    serve = commands.add_parser("serve", help="answer chat completions with what was trained")
    serve.add_argument("--root", type=Path, required=True, metavar="DIR", help="the folder of jobs")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=0, help="0 takes a free one")
    serve.add_argument("--model", action="append", default=[], metavar="NAME=PATH", help="a base model to serve")
    serve.add_argument("--threads", type=int, default=1)
    serve.add_argument("--with-parent", type=int, metavar="PID", help="end when this process, which started it, does")
    tiny = commands.add_parser("tiny", help="make a base model for rehearsals")
    tiny.add_argument("--out", type=Path, required=True, metavar="DIR")
    tiny.add_argument("--like", type=Path, metavar="FILE", help="a training file whose words it shall know")
    tiny.add_argument("--context", type=int, default=1024, help="tokens that fit")
    given = parser.parse_args(arguments)
    if getattr(given, "with_parent", None) is not None:
        # Before anything that takes time: a parent may be gone before torch is loaded.
        follow(given.with_parent)
    if missing := missing_libraries():
        sys.stderr.write(f"{missing}\n")
        return 78
    # torch takes seconds to load; a command line that is wrong should not.
    module = importlib.import_module(f"gateway.tuning.worker.{given.command}")
    run = getattr(module, given.command)
    return int(run(Folder(given.job.resolve()) if given.command == "train" else given))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
