"""The command line without any plugin but what a test installs: exit codes, messages, and what it imports."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from albireo import ROLES
from albireo.cli import main
from albireo.testing import Night, PlainCamera, simulate_night

HEAVY = ("numpy", "astropy", "scipy", "numba", "matplotlib", "pandas", "sep", "photutils")

CAMERA = '''
"""A camera that costs nothing to import."""
from pydantic import Field
from albireo import Instrument, Report, hookimpl

class Cheap(Instrument, name="cheap"):
    """A camera that reads nothing, [[and has]] brackets in its text."""
    citations = ("Someone et al. 2024",)
    size: tuple[int, int] = Field((1, 2), description="Rows and columns.", json_schema_extra={"unit": "pixel"})
    def owns(self, header, path): return False
    def frames(self, path): return []
    def read(self, frame, region=None): raise NotImplementedError
    def header(self, frame): raise NotImplementedError
    def example(self): raise NotImplementedError

@hookimpl
def instruments():
    yield Cheap
'''
REAL = """
from albireo import hookimpl

@hookimpl
def instruments():
    from albireo.testing import PlainCamera
    yield PlainCamera
"""


def with_site(site):
    """Give the environment of a process that finds one more folder of packages."""
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *before])}


@pytest.fixture
def albireo(tmp_path):
    """Call the command in a process of its own that has one more plugin."""

    def call(*arguments, code=CAMERA, cwd=tmp_path):
        site = tmp_path / "site"
        info = site / "albireo_faked-1.5.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (site / "albireo_faked.py").write_text(code)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: albireo-faked\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text("[albireo]\nfaked = albireo_faked\n")
        words = [str(a) for a in arguments]
        command = [sys.executable, "-c", "import sys, albireo.cli as cli; sys.exit(cli.main())", *words]
        environment = with_site(site)
        return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)

    return call


@pytest.fixture
def recipe(tmp_path):
    def write(text='[instrument]\nuse = "cheap"\n'):
        path = tmp_path / "night.toml"
        path.write_text(text)
        return path

    return write


def told(capsys, *arguments):
    """Call the command in this process; give its exit code, output and errors."""
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


# --- calls ------------------------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys):
    code, text, _ = told(capsys, "--help")
    assert code == 0
    for command in (
        "run",
        "check",
        "plan",
        "inspect",
        "init",
        "plugins",
        "describe",
        "schema",
        "new",
        "certify",
        "demo",
    ):
        assert f"\n    {command} " in text
        code, own, _ = told(capsys, command, "--help")
        assert code == 0
        assert own.startswith(f"usage: albireo {command} ")


def test_the_version_is_that_of_the_distribution(capsys):
    assert told(capsys, "--version")[:2] == (0, f"albireo {version('albireo-core')}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bananas"], "albireo: argument COMMAND: invalid choice: 'bananas'"),
        (["check"], "albireo: the following arguments are required: recipe"),
        (["run", "a.toml", "--jobs", "many"], "albireo: argument --jobs: invalid int value: 'many'"),
        (["describe", "photometry", "x"], "albireo: there is no role 'photometry'; roles are instrument, selector, "),
        (["describe", "executor", "proceses"], "albireo: there is no executor 'proceses'; did you mean 'processes'?"),
        (["plugins", "executer"], "albireo: there is no role 'executer'; roles are instrument, selector, "),
        (["certify", "bananas", "x"], "albireo: there is no role 'bananas'; roles are instrument, selector, "),
        (["certify", "executor", "bananas"], "albireo: there is no executor 'bananas'; installed: processes, serial"),
        (
            ["certify", "executor", "processes", "--set", "jobs=-1"],
            "albireo: option jobs: Input should be greater than",
        ),
        (["init", "--instrument", "no-such-camera"], "albireo: there is no instrument 'no-such-camera'"),
        (["inspect", "no-such-folder"], "albireo: there is no no-such-folder"),
        (["new", "bananas", "x"], "albireo: there is no role 'bananas'; roles are instrument, selector, "),
        (["demo", "--instrument", "no-such-camera"], "albireo: there is no instrument 'no-such-camera'"),
        (["run", "no-such.toml"], "no-such.toml: there is no such recipe"),
        (["plan", "no-such.toml"], "no-such.toml: there is no such recipe"),
        (["check", "no-such.toml"], "no-such.toml: there is no such recipe"),
    ],
)
def test_a_wrong_call_ends_with_two_and_says_why(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, text, errors = told(capsys, *arguments)
    assert code == 2
    assert text == ""
    lines = [line for line in errors.splitlines() if not line.startswith("usage: ")]
    assert any(line.startswith(message) for line in lines), errors
    assert list(tmp_path.iterdir()) == []


def test_no_command_shows_the_help_and_is_wrong(capsys):
    code, text, _ = told(capsys)
    assert code == 2
    assert text.startswith("usage: albireo ")


# --- check ------------------------------------------------------------------------------------------------------------


def test_a_good_recipe_is_good(albireo, recipe):
    path = recipe('[instrument]\nuse = "cheap"\n[[targets]]\nname = "x"\nx = 1\ny = 2\n')
    done = albireo("check", path, "--set", "executor.use=serial", "--set", "recipe.title=A night")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "note: the recipe has targets but no [[photometry]]: nothing will be measured",
        f"{path}: good (instrument cheap, executor serial)",
    ]


def test_a_bad_recipe_lists_its_problems_and_touches_nothing(albireo, recipe, tmp_path):
    path = recipe('[instrument]\nuse = "cheep"\n[executor]\nuse = "processes"\njbos = 2\n')
    before = sorted(tmp_path.iterdir())
    for command in (["check", path], ["plan", path], ["run", path]):
        done = albireo(*command)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.splitlines() == [
            f"{path}:2: [instrument]: there is no instrument 'cheep'; did you mean 'cheap'?",
            f"{path}:5: [executor] processes: there is no option 'jbos'; did you mean 'jobs'?",
            f"albireo: 2 problems in {path}; nothing was read or written",
        ]
    assert sorted(p for p in tmp_path.iterdir() if p.name != "site") == before


def test_the_number_of_jobs_is_set_where_the_recipe_has_no_executor(albireo, recipe):
    path = recipe()
    done = albireo("run", path, "--jobs", "-3")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"{path}: --set executor.jobs=-3: [executor] processes: "
        "option 'jobs': input should be greater than or equal to 0, not -3"
    )
    done = albireo("run", path, "--jobs", "3")
    assert done.returncode == 1
    assert done.stderr.startswith("albireo: there are no frames in ")


# --- what it imports --------------------------------------------------------------------------------------------------

IMPORTS = """
import sys
from albireo.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(code, *sorted(set(sys.modules) & set("%s".split())))
"""


@pytest.mark.parametrize(
    "arguments",
    ["--help", "--version", "check night.toml", "plugins", "describe executor processes", "schema"],
)
def test_what_must_be_fast_imports_nothing_heavy(albireo, recipe, tmp_path, arguments):
    recipe()
    albireo("--version")  # installs the plugin
    script = IMPORTS % " ".join(HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments.split()],
        env=with_site(tmp_path / "site"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0"


# --- what is installed ------------------------------------------------------------------------------------------------


def test_plugins_are_listed_by_role(albireo):
    done = albireo("plugins")
    assert done.returncode == 0
    text = done.stdout
    assert "executor  [executor]" in text
    assert "A camera that reads nothing, [[and has]] brackets in its text." in text
    assert f"albireo-core {version('albireo-core')}" in text
    assert "albireo-faked 1.5" in text
    only = albireo("plugins", "executor").stdout
    assert "serial" in only
    assert "cheap" not in only


def test_a_stage_is_described_with_its_options(albireo):
    done = albireo("describe", "instrument", "cheap")
    assert done.returncode == 0
    for line in (
        '[instrument] use = "cheap"    (instrument, from albireo-faked 1.5)',
        "A camera that reads nothing, [[and has]] brackets in its text.",
        "  size  ([integer, integer], pixel; default [1, 2])",
        "      Rows and columns.",
        "cite: Someone et al. 2024",
    ):
        assert line in done.stdout.splitlines()


def test_the_schema_is_json(capsys):
    code, text, _ = told(capsys, "schema")
    assert code == 0
    schema = json.loads(text)
    assert {role.table for role in ROLES.values()} <= set(schema["properties"])


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    simulate_night(PlainCamera(), folder, night=Night(science=2, bias=2, flat=1))
    (folder / "notes.fits").write_text("no FITS at all")
    return folder


def test_frames_are_shown_as_the_camera_sees_them(albireo, raw):
    done = albireo("inspect", raw, "--instrument", "plain-camera", "--files", code=REAL)
    assert done.returncode == 1, "one file failed"
    words = " ".join(done.stdout.split())
    assert "science r 30 s 2 " in words
    assert "bias r 0 s 2 " in words
    assert "set-up of all frames: binning=1x1" in words
    assert "science-0002.fits science r M 67 30 " in words
    assert "gain 1.6 e-/adu, read noise 5 e-, saturation 60000 adu" in words
    assert "notes.fits: the file is not a FITS file: it does not begin with SIMPLE" in words


def test_the_camera_is_found_by_itself(albireo, raw, tmp_path):
    assert albireo("inspect", raw / "bias-0001.fits", code=REAL).returncode == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "text.fits").write_text("nothing")
    done = albireo("inspect", tmp_path / "other", "--instrument", "plain-camera", code=REAL)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "albireo: none of the 1 files is a frame of plain-camera:"
    done = albireo("inspect", tmp_path / "site", "--instrument", "plain-camera", code=REAL)
    assert (done.returncode, done.stderr) == (1, f"albireo: there are no FITS files in {tmp_path / 'site'}\n")


def test_a_plan_says_what_is_left_out_and_why(albireo, raw, recipe):
    path = recipe('[instrument]\nuse = "plain-camera"\n')
    for command in ("plan", path, raw), ("run", path, raw, "--dry-run"):
        done = albireo(*command, code=REAL)
        assert done.returncode == 0, done.stderr
        words = " ".join(done.stdout.split())
        # The brackets must survive the way to the screen.
        assert "bias-0001.fits the recipe has no [[masters]] for the kind bias" in words
        assert "M_67 2 r science-0002.fits" in words
        assert "5 frames: 0 masters, 2 science frames;" in words
    assert not (path.parent / "night-run").exists()


def test_a_recipe_to_start_from_is_written_once(albireo, tmp_path):
    done = albireo("init", "--instrument", "cheap")
    assert done.returncode == 0
    assert done.stdout == "cheap.toml: edit it, then: albireo check cheap.toml\n"
    assert 'use = "cheap"' in (tmp_path / "cheap.toml").read_text()
    again = albireo("init", "--instrument", "cheap")
    assert (again.returncode, again.stderr) == (
        2,
        "albireo: cheap.toml exists already; give another file with --out\n",
    )
    nowhere = albireo("init", "--instrument", "cheap", "--out", "no/such/folder.toml")
    assert nowhere.returncode == 2
    assert nowhere.stderr == "albireo: no/such/folder.toml cannot be written: No such file or directory\n"


def test_output_that_nobody_reads_to_the_end_is_no_error(albireo, tmp_path):
    albireo("--version")
    code = "import sys, albireo.cli as cli; sys.exit(cli.main())"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{code}" schema | head -n 1; exit ${{PIPESTATUS[0]}}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")
