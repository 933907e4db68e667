"""Where jobs run, and what happens when they do not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from albireo.executors import ONE_THREAD, Processes, Serial

sys.path.insert(0, str(Path(__file__).parent))  # workers inherit it, and find the work
from executor_jobs import answer, work


def by_index(outcomes):
    found = list(outcomes)
    assert len({o.index for o in found}) == len(found), "an item has two outcomes"
    return {o.index: (o.value, o.error, o.permanent) for o in found}


@pytest.fixture(scope="module", params=[Serial(), Processes(jobs=2)], ids=["serial", "processes"])
def executor(request):
    with request.param.session():
        yield request.param


def test_every_item_has_its_outcome(executor):
    items = ["a", "fail", "b", "memory", "c"]
    assert by_index(executor.map(work, items)) == {
        0: ("done a", "", True),
        1: (None, "no stars", True),
        2: ("done b", "", True),
        3: (None, "not enough memory for this frame", False),
        4: ("done c", "", True),
    }


def test_no_item_gives_no_outcome(executor):
    assert list(executor.map(work, [])) == []


def test_a_defect_ends_the_run(executor):
    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(executor.map(work, ["a", "defect", "b", "c"]))
    # What comes next is not disturbed.
    assert by_index(executor.map(work, ["a", "b"])) == {0: ("done a", "", True), 1: ("done b", "", True)}


def test_outcomes_may_be_left_lying(executor):
    for outcome in executor.map(work, ["a", "b", "c", "d"]):
        assert outcome.value.startswith("done")
        break
    assert len(list(executor.map(work, ["a", "b"]))) == 2


# --- worker processes -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes():
    stage = Processes(jobs=2)
    with stage.session():
        yield stage


@pytest.mark.parametrize(
    ("death", "error"),
    [
        ("kill", "the worker process was killed by SIGKILL; it may have run out of memory"),
        ("segfault", "the worker process was killed by SIGSEGV"),
        ("realtime", f"the worker process was killed by signal {signal.SIGRTMIN + 1}"),
        ("exit", "the worker process ended with exit code 3"),
        ("leave", "the worker process ended with exit code 4"),
    ],
)
def test_a_worker_that_dies_costs_its_item_and_no_other(processes, death, error):
    outcomes = by_index(processes.map(work, ["a", death, "b", "c"]))
    assert outcomes.pop(1) == (None, error, False)
    assert outcomes == {0: ("done a", "", True), 2: ("done b", "", True), 3: ("done c", "", True)}


@pytest.mark.parametrize(("jobs", "items"), [(1, ["a", "kill", "b"]), (2, ["kill"])])
def test_one_job_or_one_item_is_no_danger_to_the_program(jobs, items):
    outcomes = by_index(Processes(jobs=jobs).map(work, items))
    assert outcomes[items.index("kill")][1].startswith("the worker process was killed by SIGKILL")
    assert [value for value, error, _ in outcomes.values() if not error] == [f"done {i}" for i in items if i != "kill"]


def test_if_all_workers_die_all_items_are_told(processes):
    outcomes = by_index(processes.map(work, ["exit", "exit", "exit", "a"]))
    assert [outcomes[i][1] for i in range(3)] == ["the worker process ended with exit code 3"] * 3
    assert outcomes[3][0] == "done a"


def test_a_worker_that_dies_in_the_middle_of_its_answer_costs_its_item(processes, tmp_path):
    marker = tmp_path / "pid"
    outcomes = processes.map(answer, ["a", marker, "b"])
    first = next(outcomes)
    if first.index == 1:
        pytest.fail("the small answer comes before the large one")
    # Nobody reads the large answer until the next outcome is asked for, so its worker waits in the middle of it.
    _wait_for(lambda: marker.exists() and marker.read_text() and _state(marker.read_text()) == "S")
    os.kill(int(marker.read_text()), signal.SIGKILL)
    rest = by_index(outcomes)
    assert rest[1] == (None, "the worker process was killed by SIGKILL; it may have run out of memory", False)
    assert sorted([first.value, *(value for value, error, _ in rest.values() if not error)]) == ["a", "b"]


def test_a_worker_that_dies_while_it_waits_costs_nothing():
    stage = Processes(jobs=2)
    with stage.session():
        pids = {o.value for o in stage.map(work, ["pid"] * 2)}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            _wait_for(lambda pid=pid: _state(pid) in ("", "Z"))
        assert by_index(stage.map(work, ["a", "b"])) == {0: ("done a", "", True), 1: ("done b", "", True)}


def test_a_defect_arrives_with_the_place_where_it_happened(processes):
    with pytest.raises(ZeroDivisionError) as caught:
        list(processes.map(work, ["a", "defect"]))
    (note,) = caught.value.__notes__
    assert note.startswith("in a worker process:\nTraceback")
    assert 'raise ZeroDivisionError("a defect")' in note


def test_an_exception_that_cannot_travel_is_told_in_words(processes):
    with pytest.raises(RuntimeError, match="Odd: 1 and 2") as caught:
        list(processes.map(work, ["a", "odd"]))
    assert "raise Odd(1, 2)" in caught.value.__notes__[0]


def test_a_result_that_cannot_travel_is_a_defect(processes):
    with pytest.raises(Exception, match="local object") as caught:
        list(processes.map(work, ["a", "unpicklable"]))
    assert caught.value.__notes__


def test_work_that_cannot_travel_is_a_defect_at_once(processes):
    with pytest.raises(Exception, match="local object"):
        list(processes.map(lambda item: item, ["a", "b"]))


def test_numerical_libraries_get_one_thread_in_a_worker_and_what_was_set_outside(processes, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    fresh = Processes(jobs=2)
    for outcome in fresh.map(work, ["environment"] * 2):
        assert outcome.value == dict.fromkeys(ONE_THREAD, "1")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NUMBA_NUM_THREADS" not in os.environ


def test_there_are_no_more_workers_than_items_or_jobs(processes):
    assert len({o.value for o in processes.map(work, ["pid"] * 12)}) <= 2
    many = Processes(jobs=9)
    with many.session():
        assert len({o.value for o in many.map(work, ["pid"] * 2)}) <= 2


def test_a_session_keeps_its_workers_and_ends_them():
    stage = Processes(jobs=2)
    with stage.session():
        first = {o.value for o in stage.map(work, ["pid"] * 8)}
        with stage.session():
            second = {o.value for o in stage.map(work, ["pid"] * 8)}
        assert second <= first
        assert os.getpid() not in first
    assert all(_state(pid) == "" for pid in first)
    assert {o.value for o in stage.map(work, ["pid"] * 8)}.isdisjoint(first)


SCRIPT = """
import os, signal, sys
from albireo.executors import Processes

def work(item):
    os.write(1, b"%d\\n" % os.getpid())  # at once: two workers share this pipe
    if item == "wait":
        signal.pause()

if __name__ == "__main__":
    stage = Processes(jobs=2)
    try:
        with stage.session():
            list(stage.map(work, [sys.argv[1]] * 2))
            signal.pause()
    except KeyboardInterrupt:
        print("stopped", flush=True)
        sys.exit(130)
"""


@pytest.fixture
def night(tmp_path):
    """Start a program with two workers that are busy ("wait") or idle ("go on")."""
    (tmp_path / "night.py").write_text(SCRIPT)
    started = []

    def start(what):
        command = [sys.executable, tmp_path / "night.py", what]
        # Where tests are started in the background an interrupt is ignored, and so it would be in what they start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(parent)
        return parent, [int(parent.stdout.readline()) for _ in range(2)]

    yield start
    for parent in started:
        parent.kill()
        parent.wait()
        parent.stdout.close()


@pytest.mark.parametrize("what", ["wait", "go on"])
def test_an_interrupt_leaves_no_worker_behind(night, what):
    parent, workers = night(what)
    os.killpg(parent.pid, signal.SIGINT)  # to the whole group, as a terminal sends it
    assert parent.wait(timeout=60) == 130
    assert parent.stdout.readline() == "stopped\n"
    assert [_state(pid) for pid in workers] == ["", ""]


def test_idle_workers_leave_when_the_program_is_killed(night):
    parent, workers = night("go on")
    parent.kill()
    parent.wait()
    _wait_for(lambda: all(_state(pid) in ("", "Z") for pid in workers))


def _state(pid):
    """One letter of what a process does; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        os.sched_yield()
