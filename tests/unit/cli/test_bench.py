"""``sipgram bench``: command lines, figures, comparison, and the generator where it needs no port."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sipgram.cli.bench import bench
from sipgram.cli.load import generator, process, report, servers
from sipgram.cli.load.comparison import Choice
from sipgram.cli.load.generator import Figures, Load, Measured
from sipgram.cli.load.metrics import Histogram
from sipgram.errors import SettingsError, Unavailable

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

METRICS = """\
# TYPE sipgram_loop_lag_seconds histogram
sipgram_loop_lag_seconds_bucket{le="0.001"} 90
sipgram_loop_lag_seconds_bucket{le="0.005"} 99.0
sipgram_loop_lag_seconds_bucket{le="+Inf"} 100
sipgram_loop_lag_seconds_count 100
sipgram_other_bucket{le="+Inf"} 7
"""


def figures(*, cpu_us: float | None = 40.0, p99_ms: float = 2.0, fail: int = 0) -> Figures:
    return Figures(
        count=100,
        ok=100 - fail,
        accepted=0,
        fail=fail,
        status=0,
        retransmits=0,
        challenges=0,
        received=100,
        seconds=1.0,
        per_s=100.0,
        p50_ms=1.0,
        p99_ms=p99_ms,
        max_ms=3.0,
        server_cpu_us=cpu_us,
        own_cpu_us=5.0,
    )


def run(**phase: Figures) -> report.Run:
    return report.Run(Measured(phase, rss_mb=1.0))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generator.compiled(tmp_path_factory.mktemp("program"))


class TestCommandLines:
    def test_a_relay_is_told_its_count_and_a_rate_its_pace(self) -> None:
        relay = Load("relay", count=7).arguments(host="127.0.0.1", port=5060, pid=42)
        rate = Load("rate", rate=9, seconds=3).arguments(host="127.0.0.1", port=5060, pid=None)

        assert relay[0] == "relay"
        assert relay[relay.index("--count") + 1] == "7"
        assert relay[relay.index("--pid") + 1] == "42"
        assert rate[rate.index("--rate") + 1] == "9"
        assert "--count" not in rate
        assert "--pid" not in rate

    def test_digest_is_a_relay_with_a_password(self) -> None:
        line = Load("digest", password="secret").arguments(host="127.0.0.1", port=5060, pid=1)

        assert line[0] == "relay"
        assert line[line.index("--digest") :] == ["--digest", "u0", "secret"]

    @pytest.mark.parametrize("users", [1, 1_000_000])
    def test_loads_within_the_bounds_pass(self, users: int) -> None:
        generator.check(Load("relay", users=users))

    @pytest.mark.parametrize("users", [0, 1_000_001])
    def test_loads_out_of_bounds_are_named(self, users: int) -> None:
        with pytest.raises(SettingsError, match=f"users is not from 1 to 1000000: {users}"):
            generator.check(Load("relay", users=users))

    def test_a_rate_is_bounded_by_its_messages(self) -> None:
        generator.check(Load("rate", rate=10_000, seconds=1000))

        with pytest.raises(SettingsError, match="rate times seconds"):
            generator.check(Load("rate", rate=10_000, seconds=1001))

    def test_sipgram_serves_without_digest_unless_there_is_a_password(self, tmp_path: Path) -> None:
        open_ = servers.sipgram_command(Load("tcp"), data=tmp_path, http="none")
        digest = servers.sipgram_command(Load("digest", password="x"), data=tmp_path, http="none")

        assert open_[open_.index("--auth") + 1] == "none"
        assert "tcp:127.0.0.1:0" in open_
        assert digest[digest.index("--auth") + 1] == "digest"

    @pytest.mark.skipif(not servers.has_kamailio(), reason="kamailio is not installed")
    def test_kamailio_stays_our_child_and_takes_its_fast_allocator(self, tmp_path: Path) -> None:
        load = Load("digest", users=5, password="secret")

        line = servers.kamailio_command(load, port=5070, folder=tmp_path)

        assert {"-DD", "fm", "USERS=5", 'PASSWORD="secret"', "udp:127.0.0.1:5070"} <= set(line)
        assert Path(line[line.index("-f") + 1]).name == "digest.cfg"

    def test_the_port_is_read_from_the_listening_line(self) -> None:
        text = "listening tcp 127.0.0.1:6\nlistening udp 127.0.0.1:5061\nready\n"

        assert servers.listening_port(text, transport="udp") == 5061

    def test_a_server_without_the_listener_is_not_measured(self) -> None:
        with pytest.raises(Unavailable, match="told no udp port"):
            servers.listening_port("ready\n", transport="udp")

    def test_a_target_names_transport_host_and_port(self) -> None:
        assert servers.Target.parse("udp:127.0.0.1:5060") == servers.Target(
            "udp", "127.0.0.1", 5060
        )

    @pytest.mark.parametrize("text", ["", "127.0.0.1:5060", "tls:h:1", "udp:h:x"])
    def test_other_targets_are_refused(self, text: str) -> None:
        with pytest.raises(SettingsError, match="target is not"):
            servers.Target.parse(text)


class TestChoice:
    def test_kamailio_is_compared_with_when_it_is_installed(self) -> None:
        assert Choice().systems(installed=True) == ("kamailio", "sipgram")
        assert Choice().systems(installed=False) == ("sipgram",)
        assert Choice(kamailio=False, pure=True).systems(installed=True) == ("sipgram (plain)",)

    def test_nothing_to_measure_is_a_fault(self) -> None:
        with pytest.raises(SettingsError, match="nothing to measure"):
            Choice(kamailio=False, sipgram=False).systems(installed=True)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["relay", "--users", "0"], "users is not from 1"),
            (["relay", "--server-pid", "1"], "--server-pid is of a running server"),
            (["tcp", "--target", "udp"], "target is not"),
            (["tcp", "--target", "udp:127.0.0.1:5060"], "tcp load needs a tcp target"),
            (["register", "--no-sipgram", "--no-kamailio"], "nothing to measure"),
        ],
    )
    def test_what_cannot_be_measured_is_told_in_one_line(
        self, arguments: list[str], told: str
    ) -> None:
        result = CliRunner().invoke(bench, arguments)

        assert result.exit_code == 2
        assert result.stderr.startswith("sipgram bench: ")
        assert told in result.stderr
        assert result.stderr.count("\n") == 1

    def test_importing_the_command_loads_nothing_but_typer(self) -> None:
        script = (
            "import sys, typer; before = set(sys.modules); import sipgram.cli.bench;"
            "print([m for m in set(sys.modules) - before if not m.startswith('sipgram')])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

        assert done.stdout == "[]\n", done.stderr


class TestReport:
    def test_ratios_are_taken_within_a_round(self) -> None:
        rounds = (
            {
                "kamailio": run(message=figures(cpu_us=40)),
                "sipgram": run(message=figures(cpu_us=20)),
            },
            {
                "kamailio": run(message=figures(cpu_us=60)),
                "sipgram": run(message=figures(cpu_us=24)),
            },
        )

        reference, own = report.rows(rounds, phase="message")

        assert (reference.system, own.system) == ("kamailio", "sipgram")
        assert reference.cpu_ratios == ()
        assert own.cpu_ratios == (0.5, 0.4)
        assert own.cpu_ratio_best == 0.4
        assert own.cpu_us_median == 22
        assert own.cpu_us_best == 20
        assert own.p99_ratios == (1.0, 1.0)

    def test_stored_messages_are_counted_and_their_rates_compared(self) -> None:
        accepted = replace(figures(), ok=0, accepted=100)
        slow = replace(accepted, per_s=20.0)
        rounds = (
            {
                "kamailio": replace(run(message=slow), stored=100),
                "sipgram": replace(run(message=accepted), stored=99),
            },
        )

        assert report.rate_ratios(rounds) == (5.0,)
        assert list(report.notes(rounds)) == [
            "round 1, kamailio: 100 rows for 100 202s",
            "round 1, sipgram: 99 rows for 100 202s",
        ]
        assert report.rate_ratios(({"sipgram": run(message=figures())},)) == ()

    def test_without_kamailio_or_cpu_there_is_no_ratio(self) -> None:
        (alone,) = report.rows(({"sipgram": run(message=figures())},), phase="message")
        (remote,) = report.rows(({"target": run(message=figures(cpu_us=None))},), phase="message")

        assert alone.cpu_ratio_best is None
        assert remote.cpu_us_median is None

    def test_a_failed_request_fails_the_bench(self) -> None:
        assert not report.failed(({"sipgram": run(message=figures())},))
        assert report.failed(({"sipgram": run(new=figures(fail=1))},))

    def test_a_round_that_failed_early_still_reports(self) -> None:
        rounds = ({"sipgram": run(new=figures(fail=1))}, {"sipgram": run(message=figures())})

        (row,) = report.rows(rounds, phase="message")

        assert report.phases(rounds) == ("new", "message")
        assert row.cpu_us_median == 40

    def test_json_holds_the_runs_and_no_password(self) -> None:
        rounds = ({"sipgram": run(message=figures())},)

        text = json.dumps(report.as_json(rounds, load=Load("digest", password="hidden-word")))

        assert "hidden-word" not in text
        assert (
            json.loads(text)["rounds"][0]["sipgram"]["measured"]["phases"]["message"]["ok"] == 100
        )

    def test_tables_are_printed_with_notes(self, capsys: pytest.CaptureFixture[str]) -> None:
        memory = report.Memory(most_mb=90, settled_mb=80, end_mb=81, after_mb=60, after_cpu_us=0.5)
        measured = Measured({"new": figures(), "message": figures()}, rss_mb=None)
        rounds = ({"sipgram": report.Run(measured, memory, lag_p99_s=0.002)},)

        report.print_rounds(rounds, load=Load("relay"))

        out = capsys.readouterr().out
        assert "relay: MESSAGE" in out
        assert "REGISTER" not in out
        assert "loop lag p99 at most 2 ms" in out
        assert "90 MB at most, 80 after 40 s of load, 81 at its end, 60 40 s later" in out

    def test_the_cpu_is_named_where_the_kernel_does(self) -> None:
        assert report.cpu_model("processor\t: 0\nmodel name\t: Some CPU\n") == "Some CPU"
        assert report.cpu_model("processor\t: 0\n")


class TestMetrics:
    def test_a_histogram_is_read_by_name(self) -> None:
        lag = Histogram.parse(METRICS, name="sipgram_loop_lag_seconds")

        assert lag.bounds == (0.001, 0.005, float("inf"))
        assert lag.counts == (90, 99, 100)
        assert lag.samples == 100

    def test_quantiles_are_bounds_that_hold(self) -> None:
        lag = Histogram.parse(METRICS, name="sipgram_loop_lag_seconds")

        assert lag.quantile(0.5) == 0.001
        assert lag.quantile(0.99) == 0.005
        assert lag.quantile(0.999) == float("inf")
        assert lag.over(0.005) == 1

    def test_only_what_came_since_counts(self) -> None:
        lag = Histogram.parse(METRICS, name="sipgram_loop_lag_seconds")

        assert lag.since(lag).samples == 0
        assert lag.since(lag).quantile(0.99) is None
        assert lag.since(Histogram((), ())).counts == lag.counts


class TestProcess:
    def test_a_name_with_brackets_and_spaces_does_not_mislead(self) -> None:
        assert process.parent_of("12 (a) S (b c) R 7 12 12 0") == 7

    def test_shared_pages_count_once(self) -> None:
        assert process.pss_kb("Rss:  500 kB\nPss:  120 kB\nPss_Dirty: 9 kB\n") == 120
        assert process.pss_kb("") == 0

    def test_our_own_tree_has_us(self) -> None:
        assert process.tree(os.getpid())[0] == os.getpid()
        assert process.memory_mb(os.getpid()) > 1
        assert process.cpu_s(os.getpid()) > 0


LINE = json.dumps(
    {
        "mode": "relay",
        "users": 2,
        "window": 64,
        "new": dict.fromkeys(Figures.__dataclass_fields__, 0),
        "message": dict.fromkeys(Figures.__dataclass_fields__, 1) | {"fail": 0},
        "rss_mb": 12.5,
        "processes": 1,
    }
)


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


class TestRun:
    """The whole way with a program in the generator's place, told apart by nobody."""

    @pytest.fixture
    def compiler(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A compiler whose every program prints a line of figures."""
        script = (
            f"while [ $# -gt 1 ]; do [ $1 = -o ] && out=$2; shift; done\ncp {tmp_path}/made $out"
        )
        executable(tmp_path / "made", f"echo '{LINE}'")
        monkeypatch.setenv("CC", str(executable(tmp_path / "compiler", script)))

    @pytest.mark.usefixtures("compiler")
    def test_a_target_is_measured_and_shown(self) -> None:
        result = CliRunner().invoke(bench, ["relay", "--target", "udp:127.0.0.1:5060"])

        assert result.exit_code == 0, result.output
        assert "round 3 of 3" in result.stderr
        assert "target" in result.stdout

    @pytest.mark.usefixtures("compiler")
    @pytest.mark.parametrize("command", ["relay", "digest", "tcp", "register", "rate"])
    def test_every_load_gives_json(self, command: str) -> None:
        transport = "tcp" if command == "tcp" else "udp"
        target = ["--target", f"{transport}:127.0.0.1:5060", "--rounds", "2"]

        result = CliRunner().invoke(bench, [command, *target, "--json"])

        shown = json.loads(result.stdout)
        assert result.exit_code == 0, result.output
        assert shown["load"]["mode"] == command
        assert [one["target"]["measured"]["rss_mb"] for one in shown["rounds"]] == [12.5, 12.5]
        assert shown["compared"]["message"][0]["cpu_us_median"] == 1

    @pytest.mark.usefixtures("compiler")
    def test_the_password_of_a_target_comes_from_the_environment(self) -> None:
        target = ["--target", "udp:127.0.0.1:5060"]

        result = CliRunner().invoke(bench, ["digest", *target, "--password-env", "NO_SUCH"])

        assert result.exit_code == 2
        assert "NO_SUCH is not set" in result.stderr

    def test_what_the_generator_says_against_itself_is_passed_on(self, tmp_path: Path) -> None:
        program = executable(tmp_path / "program", "echo 'loadgen: no route' >&2; exit 2")

        with pytest.raises(Unavailable, match="loadgen: no route"):
            generator.measure(program, Load("relay"), host="127.0.0.1", port=9, pid=None)

    def test_a_generator_that_dies_is_told(self, tmp_path: Path) -> None:
        program = executable(tmp_path / "program", "kill -9 $$")

        with pytest.raises(Unavailable, match="ended with -9"):
            generator.measure(program, Load("relay"), host="127.0.0.1", port=9, pid=None)

    def test_a_server_that_does_not_start_is_told_with_its_last_words(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        executable(tmp_path / "kamailio", "echo 'bad config' >&2; exit 1")
        monkeypatch.setenv("PATH", str(tmp_path))

        with (
            pytest.raises(Unavailable, match="kamailio ended with 1: bad config"),
            servers.started("kamailio", Load("relay")),
        ):
            pytest.fail("it was taken for running")

    def test_without_kamailio_its_comparison_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(Unavailable, match="kamailio is not installed"):
            servers.kamailio_command(Load("relay"), port=5070, folder=tmp_path)


class TestProgram:
    def test_no_compiler_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CC", "no-such-compiler")

        with pytest.raises(Unavailable, match="there is no no-such-compiler"):
            generator.compiled(tmp_path)

    def test_a_compile_error_is_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CC", "false")

        with pytest.raises(Unavailable, match="does not compile: no reason given"):
            generator.compiled(tmp_path)
        assert list(tmp_path.iterdir()) == []

    @needs_compiler
    def test_it_is_compiled_once(self, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CC", "no-such-compiler")

        assert generator.compiled(program.parent) == program

    @needs_compiler
    @pytest.mark.parametrize("uri_bytes", [1, 46, 47, 48, 54, 55, 56, 57, 63, 64, 65, 119, 200])
    def test_md5_agrees_with_hashlib_around_its_block_edges(
        self, program: Path, uri_bytes: int
    ) -> None:
        uri, user, password = "s" * uri_bytes, "u" * uri_bytes, "p" * (uri_bytes % 7)

        done = subprocess.run(
            [program, "response", user, "r", password, "MESSAGE", uri, "nonce", "17", "c"],
            capture_output=True,
            text=True,
        )

        expected = response_of(user, "r", password, "MESSAGE", uri, "nonce", "00000011", "c")
        assert done.stdout.strip() == expected

    @needs_compiler
    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["relay"],
            ["dance", "--port", "5060"],
            ["relay", "--port", "0"],
            ["relay", "--port", "65536"],
            ["relay", "--port", "5060x"],
            ["relay", "--port", "5060", "--window", "65537"],
            ["relay", "--port", "5060", "--users", ""],
            ["relay", "--port", "5060", "stray"],
            ["relay", "--port", "5060", "--digest", "u0"],
            ["relay", "--port", "5060", "--digest", 'u"0', "secret"],
            ["tcp", "--port", "5060", "--digest", "u0", "secret"],
            ["rate", "--port", "5060", "--rate", "1000000", "--seconds", "11"],
            ["relay", "--port", "5060", "--host", "example.com"],
        ],
    )
    def test_bad_arguments_end_it_at_once(self, program: Path, arguments: list[str]) -> None:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=5)

        assert done.returncode == 2
        assert "loadgen: " in done.stderr
        assert done.stdout == ""

    def test_its_line_is_read_back(self) -> None:
        phase = json.dumps(dict.fromkeys(Figures.__dataclass_fields__, 1))
        line = f'{{"mode":"relay","users":2,"window":64,"new":{phase},"rss_mb":null}}\n'

        measured = Measured.parse(line)

        assert list(measured.phases) == ["new"]
        assert measured.phases["new"].ok == 1
        assert measured.rss_mb is None


def response_of(
    user: str, realm: str, password: str, method: str, uri: str, nonce: str, nc: str, cnonce: str
) -> str:
    """RFC 2617 §3.2.2.1 with qop=auth, by the standard library."""

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    ha1, ha2 = md5(user, realm, password), md5(method, uri)
    return md5(ha1, nonce, nc, cnonce, "auth", ha2)


@pytest.fixture(autouse=True)
def _no_cached_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
