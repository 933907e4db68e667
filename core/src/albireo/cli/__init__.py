"""The command line.

Each command lives in a module of its own and is imported when it is called, so that ``albireo --help`` starts fast.
Exit codes: 0 done; 1 ran, but something was left out that the recipe required; 2 the recipe or the call is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

__all__ = ["main"]

EXIT_DONE, EXIT_LEFT_OUT, EXIT_WRONG = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_WRONG, f"albireo: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    top = _Parser(
        prog="albireo",
        description="From raw frames of an imaging camera to light curves. Every step is a plugin.",
    )
    top.add_argument("--version", action="store_true", help="show the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")

    def recipe_options(p: argparse.ArgumentParser, data: bool = True) -> None:
        p.add_argument("recipe", type=Path, help="the recipe, a TOML file")
        if data:
            p.add_argument("data", type=Path, nargs="?", help="the raw frames, instead of what the recipe says")
        p.add_argument(
            "--set",
            dest="settings",
            metavar="TABLE.OPTION=VALUE",
            action="append",
            default=[],
            help="change an option of the recipe, such as photometry.radius=6; may be given again",
        )

    run = command("run", "reduce a night by a recipe")
    recipe_options(run)
    run.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: the recipe's name + '-run')")
    run.add_argument("--jobs", type=int, metavar="N", help="number of worker processes")
    run.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    run.add_argument("--quiet", action="store_true", help="print problems only")

    review = command("review", "look at the frames of a run and decide by hand which take part")
    review.add_argument("run", type=Path, help="the run folder")
    review.add_argument("--port", type=int, metavar="N", default=0, help="where to serve the page (default: any free)")
    review.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    review.add_argument("--author", metavar="NAME", help="whose decisions they are (default: your user name)")

    check = command("check", "check a recipe and report everything that is wrong with it")
    recipe_options(check, data=False)

    plan = command("plan", "show which frame gets which master and why, from headers alone")
    recipe_options(plan)
    plan.add_argument("--files", action="store_true", help="name every science frame, not only the first and the last")

    inspect = command("inspect", "show the frames of a folder as a camera sees them")
    inspect.add_argument("data", type=Path, help="a folder or a file")
    inspect.add_argument("--instrument", metavar="NAME", help="the camera (default: the one that owns the files)")
    inspect.add_argument("--definition", type=Path, metavar="FILE", help="a camera described in a TOML file")
    inspect.add_argument("--files", action="store_true", help="show every frame")
    inspect.add_argument(
        "--pixels", action="store_true", help="read pixels too: levels, saturation, and the gain from pairs of flats"
    )
    inspect.add_argument(
        "--check", action="store_true", help="show no frames, but try all that the camera promises on every file"
    )

    init = command("init", "write a recipe to start from")
    init.add_argument("--instrument", metavar="NAME", required=True, help="the camera")
    init.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: NAME.toml)")

    plugins = command("plugins", "list what is installed, and what cannot be used and why")
    plugins.add_argument("role", nargs="?", help="show one role only")

    describe = command("describe", "show what a stage does and its options")
    describe.add_argument("role", help="the role, such as photometer")
    describe.add_argument("name", help="the name that a recipe writes after use")

    command("schema", "print a JSON Schema of recipes, for editors")

    new = command("new", "write a package for a plugin of your own")
    new.add_argument("role", help="what it is to be, such as photometer or instrument")
    new.add_argument("name", help="its name")
    new.add_argument(
        "--from",
        dest="samples",
        type=Path,
        metavar="SAMPLES",
        help="a folder of sample files: describe the camera that wrote them (instrument only)",
    )
    new.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: here)")

    certify = command("certify", "run the conformance kit on an installed stage")
    certify.add_argument("role", help="the role, such as photometer")
    certify.add_argument("name", help="the name that a recipe writes after use")
    certify.add_argument(
        "samples", type=Path, nargs="*", help="for an instrument: folders of real frames, to be checked as well"
    )
    certify.add_argument(
        "--set", dest="settings", metavar="OPTION=VALUE", action="append", default=[], help="an option"
    )

    library = command("library", "list the masters of a library, or say which of them may be used")
    library.add_argument("folder", type=Path, help="the folder of the library")
    library.add_argument("name", nargs="?", default="", help="one master, by the first letters of its key")
    library.add_argument("--good", action="store_true", help="it may be used")
    library.add_argument("--bad", action="store_true", help="it must not be used")
    library.add_argument("--remark", metavar="TEXT", help="why")
    library.add_argument("--from", dest="good_from", metavar="DATE", help="it serves frames from this time on (UTC)")
    library.add_argument("--until", dest="good_until", metavar="DATE", help="it serves frames until this time (UTC)")
    library.add_argument("--forget", action="store_true", help="take it out of the library; its file stays")

    demo = command("demo", "simulate a raw night, reduce it, and compare with the truth")
    demo.add_argument("--instrument", metavar="NAME", default="lmi", help="the camera (default: lmi)")
    demo.add_argument("--out", type=Path, metavar="DIR", default=Path("albireo-demo"), help="where to write")
    demo.add_argument("--seed", type=int, default=1, help="of the simulated noise (default: 1)")
    demo.add_argument("--jobs", type=int, metavar="N", help="number of worker processes")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give its exit code."""
    top = parser()
    options = top.parse_args(arguments)
    if options.version:
        from importlib.metadata import version

        print(f"albireo {version('albireo-core')}")
        return EXIT_DONE
    if options.command is None:
        top.print_help()
        return EXIT_WRONG
    module = import_module(f"albireo.cli.{options.command}")
    try:
        code: int = module.command(options)
        return code
    except KeyboardInterrupt:
        print("stopped; run again, and what is done will be used", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as with "| head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
