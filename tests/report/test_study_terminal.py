"""The live table of a study: 80 columns, a row for each variant, and plain lines where there is no terminal."""

import io

from rich.console import Console

from intact.report.study_terminal import Live

RECORD = {
    "measurements": [
        {"of": "float", "name": "top-1 accuracy", "value": 99.0},
        {"of": "quantized", "name": "top-1 accuracy", "value": 90.5},
        {"of": "difference", "name": "accuracy drop", "value": 0.25},
        {"of": "quantized", "name": "file size", "value": 28208},
        {"of": "quantized", "name": "latency", "value": 0.5},
    ]
}


def drawn(live, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(live._table())
    return console.file.getvalue().splitlines()


def test_every_variant_has_a_row_that_fits():
    live = Live(["net int8 cpu", "x" * 300, "net w4a8 cpu"], quiet=True)
    live.watch("net int8 cpu", "done", RECORD)
    live.watch("x" * 300, "calibrate 3/500", None)
    lines = drawn(live)
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert "top-1 90.50 %, drop 0.25 points, file 28.2 KB" in lines[1]
    assert "calibrate 3/500" in lines[2]
    assert lines[3].strip() == "net w4a8 cpu"


def test_many_variants_show_those_that_work_now():
    names = [f"v{n}" for n in range(100)]
    live = Live(names, quiet=True)
    for name in names[:60]:
        live.watch(name, "done", RECORD)
    live.watch("v60", "time 1/40", None)
    lines = drawn(live)
    assert len(lines) == 22
    assert any(line.startswith("v60") for line in lines)
    assert lines[-1].strip() == "60 of 100 done"


def test_a_name_moves_no_cursor():
    live = Live(["\x1b[2J[red]x\n"], quiet=True)
    assert drawn(live)[1].startswith(r"\x1b[2J[red]x\n")


def test_without_a_terminal_a_line_says_what_is_done(capsys):
    with Live(["a", "b"], quiet=False) as live:
        live.watch("a", "calibrate", None)
        live.watch("a", "done", RECORD)
        live.watch("b", "failed: it\nbroke", None)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "a: top-1 90.50 %, drop 0.25 points, file 28.2 KB, latency 0.5 ms\nb: failed: it\\nbroke\n"


def test_quiet_says_nothing(capsys):
    with Live(["a"], quiet=True) as live:
        live.watch("a", "done", RECORD)
    assert capsys.readouterr().err == ""
