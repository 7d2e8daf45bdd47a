"""bench/examples.py writes a recipe's table between the two marks of its README, and nothing else."""

import example_runs
import pytest

BENCH = example_runs.EXAMPLES.parent / "bench"


@pytest.fixture(scope="module")
def bench():
    with example_runs.modules(BENCH, "examples", "common") as (examples, _):
        yield examples


def test_the_table_replaces_what_was_between_the_marks(bench):
    readme = "# One\n\n<!-- table -->\n| old |\n<!-- /table -->\n\nAfter.\n"
    assert bench.with_table(readme, "| new |\n\n") == "# One\n\n<!-- table -->\n| new |\n<!-- /table -->\n\nAfter.\n"


@pytest.mark.parametrize("readme", ["# None\n", "# One\n<!-- table -->\n", "# Other\n<!-- /table -->\n"])
def test_a_readme_without_both_marks_is_left_alone(bench, readme):
    with pytest.raises(SystemExit, match="add both"):
        bench.with_table(readme, "| new |")


def test_every_example_has_a_recipe_a_readme_with_marks_and_a_test(bench):
    assert {folder.name for folder in example_runs.EXAMPLES.iterdir() if folder.is_dir()} == set(bench.NAMES)
    for name in bench.NAMES:
        readme = (example_runs.EXAMPLES / name / "README.md").read_text()
        assert bench.with_table(readme, "| new |").count("| new |") == 1
        assert (example_runs.EXAMPLES.parent / "tests" / "examples" / f"test_{name}.py").is_file()


def test_a_recipe_reads_in_under_a_hundred_lines(bench):
    for name in bench.NAMES:
        assert len((example_runs.EXAMPLES / name / "recipe.py").read_text().splitlines()) < 100, name


def test_a_network_that_is_trained_is_taken_again(bench, tmp_path):
    assert bench.besides("rock_paper_scissors", tmp_path) == []
    (tmp_path / "float.pt").touch()
    assert bench.besides("rock_paper_scissors", tmp_path) == ["--weights", tmp_path / "float.pt"]


def test_a_run_writes_the_table_of_its_recipe(bench, tmp_path, monkeypatch):
    example = tmp_path / "examples" / "one"
    example.mkdir(parents=True)
    (example / "README.md").write_text("<!-- table -->\n<!-- /table -->\n")
    (example / "recipe.py").write_text(
        "import pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "out.mkdir(parents=True)\n"
        "(out / 'table.md').write_text(' '.join(sys.argv[1:3]))\n"
    )
    monkeypatch.setattr(bench, "EXAMPLES", tmp_path / "examples")
    bench.rebuild("one", "small", tmp_path / "out")
    assert (example / "README.md").read_text() == "<!-- table -->\n--budget small\n<!-- /table -->\n"
