"""``albireo review``."""

from __future__ import annotations

import getpass
import webbrowser
from argparse import Namespace

from albireo.cli.common import complain
from albireo.overrides import OverridesError


def command(options: Namespace) -> int:
    """Serve the contact sheet of a run until the person has done."""
    from albireo.results import Results
    from albireo.review.decisions import Decisions
    from albireo.review.server import ReviewServer

    try:
        run = Results(options.run)
    except (FileNotFoundError, NotADirectoryError):
        what = "a file" if options.run.is_file() else "a folder without a finished run" if options.run.is_dir() else ""
        complain(
            f"{options.run} is {what or 'not there'}; give the folder that 'albireo run' wrote, with run.json in it"
        )
        return 2
    try:
        decisions = Decisions(run, _author(options.author))
        decisions.state()  # a file that cannot be understood is told of before the first click
        server = ReviewServer(run, decisions, options.port)
    except OverridesError as error:
        complain(str(error))
        return 2
    except (OSError, OverflowError) as error:
        complain(f"port {options.port} cannot be used: {error}; leave --port out for a free one")
        return 2
    with server:
        print(f"review: {server.url}")
        print(f"decisions go to {decisions.path}")
        print("Ctrl-C ends it", flush=True)
        if not options.no_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def _author(given: str | None) -> str:
    """Who decides: as told, else the name of the account."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return ""
