"""The bench runs the lesson's own recipe, and says what it extrapolates."""

from __future__ import annotations

import argparse
import csv
import hashlib
import pickle
import re
import subprocess
import sys

from course_tools import bench
from course_tools.bench import (
    garment_report,
    lesson_02,
    lesson_03,
    lesson_05,
    lesson_06,
    lesson_08,
    lesson_09,
    lesson_10,
    word2vec,
)
from course_tools.cli import main
from course_tools.lessons import ROOT
from course_utils.data import encode_sentences, load_news
from course_utils.errors import CourseError, UsageError
from course_utils.evaluation import mean_interval

import nbformat
import numpy as np
import pytest


def measured(seconds, accuracies, parameters=1_000):
    epochs = [
        {"epoch": n, "seconds": seconds, "accuracy": accuracy, "k": 5}
        for n, accuracy in enumerate(accuracies, 1)
    ]
    return {"parameters": parameters, "epochs": epochs}


ORIGINAL = measured(100.0, [0.80, 0.84])
OURS = [measured(30.0, [0.90, 0.9223, 0.931]), measured(30.0, [None, None, 0.933])]


def test_a_tiny_run_measures_both_recipes_and_draws_them(tmp_path):
    plot = tmp_path / "bench.png"
    options = ["--original-epochs", "1", "--epochs", "1", "--pictures", "600"]
    options += ["--width", "4"]
    ran = subprocess.run(
        [sys.executable, "-m", "course_tools.cli", "bench", "5", *options]
        + ["--plot", str(plot)],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert re.search(r"\d+ threads", lines[0])
    assert re.match(r"original +seed 0 +epoch +1 .* kNN 0\.\d{4}", lines[1])
    assert re.match(r"course +seed 0 +epoch +1 .* kNN 0\.\d{4}", lines[2])
    assert "1,278,849" in ran.stdout
    assert "1 of 50 epochs were run; the rest is extrapolated" in ran.stdout
    scores = r"losses +seed 0 .*'contrastive': 0\.\d+.*'PCA': 0\.\d+"
    assert re.search(scores, ran.stdout)
    assert re.search(r"\nnot seen in training +contrastive", ran.stdout)
    assert re.search(r"\ncontrastive minus it +-?0\.\d{3} \[", ran.stdout)
    assert "contrastive ahead by, interval over test pictures" in ran.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_recipe_is_the_notebooks_cells():
    lesson = bench.find_lessons(["5"])[0]
    notebook = nbformat.read(lesson.solution, as_version=4)
    cells = [c for c in notebook.cells if "recipe" in c.metadata.get("tags", [])]
    text = "\n".join(cell.source for cell in cells)
    for name in ("post_siamese", "make_embedder", "with_softmax", "moved", "train"):
        assert f"def {name}(" in text
    assert "### BEGIN" not in text
    code = (ROOT / "course_tools" / "bench" / "lesson_05.py").read_text()
    assert "layers." not in code, "a second copy of the network"


def test_what_was_not_run_is_extrapolated_and_said_so():
    text = garment_report.report(ORIGINAL, OURS)
    assert garment_report.total_of_original(ORIGINAL) == 5_000
    assert "2 of 50 epochs were run; the rest is extrapolated" in text
    assert "0.9223 is the published accuracy" in text
    rows = text.splitlines()
    row = next(line for line in rows if line.startswith("course, 3 epochs, seed 0"))
    assert row.split()[-1] == "60", "seconds until 0.9223"
    assert "It reaches 0.9223 in 1/83.3 of the original's 50 epochs" in text
    assert re.search(r"course, 3 epochs, mean +0\.9320 \[0\.9\d+, 0\.9\d+\]", text)
    assert "1/55.6 of the CPU time" in text


def test_a_whole_run_extrapolates_nothing():
    text = garment_report.report(measured(1.0, [0.8] * 50), OURS[:1])
    assert "extrapolated" not in text
    assert "not reached" in text


def test_the_lead_of_the_contrastive_network_has_an_interval_over_seeds_or_pictures():
    truth, right, wrong = [0, 1] * 50, [0, 1] * 50, [1, 0] * 5 + [0, 1] * 45
    ways = {"contrastive": right, "PCA": wrong}
    runs = [{"truth": truth, "answers": ways}, {"truth": truth, "answers": ways}]
    (_, first, none), (name, second, lead) = lesson_05.table_of(runs, "05_x", "course")
    assert (first, none) == (1.0, "") and (name, second) == ("PCA", 0.9)
    assert lead == "0.100 [0.100, 0.100]"
    _, (_, _, lead) = lesson_05.table_of(runs[:1], "05_x", "course")
    assert lead.startswith("0.100 [0.0") and lead.endswith("]")


def test_each_draw_of_unseen_garments_has_a_row():
    ways = {"contrastive": [0, 1, 1, 1], "pixels": [0, 1, 0, 1]}
    run = {"truth": [0, 1, 0, 1], "answers": ways, "unseen": ["bag", "coat"]}
    assert lesson_05.draws_table([run, run], "course bench 5") == [
        ["bag, coat", "0.750", "1.000"],
        ["bag, coat", "0.750", "1.000"],
        ["mean", "0.750", "1.000"],
        ["contrastive minus it", "", "-0.250 [-0.250, -0.250]"],
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "5", "--original-epochs", "0"],
        ["bench", "5", "--width", "0"],
        ["bench", "5", "--original-epochs", "51"],
        ["bench", "5", "--seeds", "0"],
        ["bench", "5", "--pictures", "3"],
        ["bench", "6", "--names", "10"],
        ["bench", "6", "--epochs", "0"],
        ["bench", "7", "--vectors", "10"],
        ["bench", "1"],
        ["bench", "99"],
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(arguments, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1


def test_a_process_that_stops_is_told_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "stops.py").write_text("print('{\"a\": 1}')\nraise SystemExit('why')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    heard = []
    with pytest.raises(CourseError, match="why"):
        bench.run_apart("stops", [], heard.append)
    assert heard == [{"a": 1}]


def test_both_recipes_get_the_same_number_of_threads(tmp_path, monkeypatch):
    (tmp_path / "tells.py").write_text(
        "import json, os\n"
        f"names = {bench.THREAD_VARIABLES!r}\n"
        "print(json.dumps({'threads': [os.environ[name] for name in names]}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (line,) = bench.run_apart("tells", [])
    assert set(line["threads"]) == {str(bench.n_threads())}


def course_bench(*arguments):
    """Lines that `course bench` prints, which must succeed and warn of nothing."""
    ran = subprocess.run(
        [sys.executable, "-m", "course_tools.cli", "bench", *arguments],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    # A set that is not here yet shows the progress of its fetching there.
    said = [line.strip() for line in re.split(r"[\r\n]+", ran.stderr)]
    assert [line for line in said if line and "B/s" not in line] == []
    return ran.stdout.splitlines()


def test_a_tiny_run_of_lesson_06_scores_every_system_on_the_same_names():
    lines = course_bench("6", "--names", "1000", "--epochs", "1", "--seeds", "2")
    titles = [line for line in lines if line.startswith("Lesson 06, ")]
    assert titles[:2] == ["Lesson 06, names of nationalities held out"] * 2
    assert titles[2:4] == ["Lesson 06, Faker, the lesson's default"] * 2
    table = lines[lines.index(titles[2]) :]
    systems = [re.split(r"  +", line)[0] for line in table[2:10]]
    assert systems == [
        "always the largest",
        "pieces + linear SVM",
        "original network, 2 seeds",
        "our network, 2 seeds",
        "vote of its neighbours, 2 seeds",
        "with a weight for each piece, 2 seeds",
        "all seeds together",
        "vote of all seeds' neighbours",
    ]


def test_the_table_of_lesson_06_has_intervals_over_seeds_and_names():
    truth = np.arange(200) % 4
    off = truth.copy()
    off[:20] = 9
    answers = {
        "pieces + linear SVM": [np.where(np.arange(200) < 40, 9, truth)],
        "our network": [off, off, truth],
    }
    machine, ours = lesson_06.report(answers, truth)
    assert machine[0] == "pieces + linear SVM" and machine[3:] == [""] * 4
    assert ours[0] == "our network, 3 seeds"
    mean = mean_interval([0.9, 0.9, 1.0])
    assert ours[1] == f"{mean:.3f}"
    assert ours[3] == f"{mean_interval([0.1, 0.1, 0.2]):+.3f}"
    value, low, high = map(float, re.findall(r"[+-]?\d\.\d+", ours[4]))
    assert value == 0.133 and 0 < low < value < high


def test_vectors_of_lesson_06_are_compared_draw_by_draw():
    draws = [
        {
            "nearest by penultimate": {"alike": 0.5 + shift},
            "nearest by last layer": {"alike": 0.4 + shift},
        }
        for shift in (0, 0.1, 0.2)
    ]
    first, second = lesson_06.compare_nearest(draws)
    assert first[0] == "penultimate" and first[2] == ""
    assert second[2].startswith("+0.100 [+0.100, +0.100")


def test_a_tiny_run_of_lesson_07_prints_its_five_tables(tmp_path):
    plot = tmp_path / "ratios.png"
    small = ("--pictures", "1200", "--vectors", "2000", "--repeats", "2")
    lines = course_bench("7", *small, "--threads", "1", "--speed-plot", str(plot))
    text = "\n".join(lines)
    (flat,) = re.findall(r"FastANN, faiss flat +(0\.\d+)\n", text)
    (exact,) = re.findall(r"scikit-learn, exact +(0\.\d+)\n", text)
    assert flat == exact == "0.947"
    assert "Fashion-MNIST, 1,200 × 784, 1,200 queries" in text
    interval = r"-?[\d.]+ \[-?[\d.]+, -?[\d.]+\]"
    for name in ("FastANN", "FastANN, uint8", "FastANN, 128 components"):
        (row,) = re.findall(rf"^{name} {{2,}}[\d.]+ +(.*)", text, re.MULTILINE)
        recall, _, *intervals = re.split(" {2,}", row)
        assert float(recall) > 0.9
        assert len(intervals) == 3 and all(re.fullmatch(interval, i) for i in intervals)
    assert plot.stat().st_size > 1_000
    assert re.search(rf"1,000 × 64 +[\d.]+ +[\d.]+ +{interval}", text)
    assert "2,000 32-dimensional vectors in 1,000 clusters" in text
    assert re.search(r"Peak memory of this whole run: [\d.]+ GB", text)


def test_a_tiny_run_of_lesson_08_scores_both_sets(tmp_path, monkeypatch, capsys):
    """Posts stand in for stories; vectors are those that `course data` made."""
    halves = load_news()
    known = {
        text: vector
        for texts, _ in halves
        for text, vector in zip(texts, encode_sentences(texts), strict=True)
    }
    paths = []
    for name, (texts, labels) in zip(("train", "test"), halves, strict=True):
        paths.append(tmp_path / f"{name}.csv")
        with open(paths[-1], "w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(zip(texts, labels, strict=True))

    def look_up(texts):
        """Vectors that `course data` made, in place of an encoder of minutes."""
        return np.stack([known[text] for text in texts])

    class Kept:
        encode = staticmethod(look_up)

    monkeypatch.setattr(lesson_08, "encode_sentences", look_up)
    monkeypatch.setattr(lesson_08, "fine_tune", lambda texts, labels, seed: Kept)
    lesson = bench.recipe(8)
    lesson["EPOCHS"] = 1
    monkeypatch.setattr(lesson_08, "FEW_PASSES", 2)
    monkeypatch.setattr(lesson_08, "recipe", lambda number: lesson)
    kept = []
    monkeypatch.setattr(lesson_08, "store", lambda *given: kept.append(given))
    stories = ["--stories", *map(str, paths), "--thaw", "2"]
    assert main(["bench", "8", "--posts", "1000", "--seeds", "2", *stories]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "Lesson 08, 20 Newsgroups, four desks" in said.out
    assert "Lesson 08, AG News" in said.out
    assert "1,000 in the pool, 250 labelled, 1,000 to test" in said.out
    assert [name for name, *_ in kept] == ["08_four_desks", "08_ag_news"]
    for _, command, columns, rows in kept:
        assert command.startswith("course bench 8 --seeds 2 --store --thaw 2")
        table = {row[0]: row for row in rows}
        assert {len(row) for row in rows} == {len(columns)}
        # Nothing was thawed, and the search is the raw one.
        raw, thawed = table["none: raw vectors"], table["250, encoder thawed"]
        assert raw[1:3] == thawed[1:3]
        alone = table["250 labels alone"]
        assert alone[4:] == ["", ""]
        # Other starts took part, so the mean of heads searches otherwise.
        assert table["250 alone, mean of 3 heads"][1:4] != alone[1:4]


def test_several_heads_of_lesson_08_are_judged_by_the_mean_of_their_vectors():
    turns = {0: np.eye(2), 1: np.array([[0, 1], [1, 0]])}
    asked = {}
    lesson = {
        "train": lambda vectors, labels, seed, passes: seed,
        "tuned": lambda head, vectors: vectors @ turns[head],
        "judge": lambda known, labels, queries, truth: asked.update(of=queries),
    }
    vectors, labels = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([0, 1])
    part = (None, vectors, labels)
    lesson_08._tuned(lesson, part, part, (np.arange(2), labels, [0], 1))
    np.testing.assert_allclose(asked["of"], vectors)
    lesson_08._tuned(lesson, part, part, (np.arange(2), labels, [0, 1], 1))
    np.testing.assert_allclose(asked["of"], np.full((2, 2), np.sqrt(0.5)))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--posts", "10"],
        ["--seeds", "0"],
        ["--thaw", "1"],
        ["--stories", "none.csv", "none.csv"],
    ],
)
def test_wrong_options_of_lesson_08_are_one_sentence(arguments, capsys):
    assert main(["bench", "8", *arguments]) != 0
    assert capsys.readouterr().err.count("\n") == 1


def test_columns_are_set_under_their_heads():
    text = bench.table([["recipe", "s"], ["one", "1,000"], ["other one", "5"]])
    assert text.splitlines() == [
        "recipe         s",
        "one        1,000",
        "other one      5",
    ]


def test_no_two_draws_of_lesson_02_share_a_review():
    draws = lesson_02._draws_of(np.zeros(500, int), 400, 30)
    learned = np.concatenate([part for part, _ in draws])
    scored = np.concatenate([rows for _, rows in draws])
    assert len(learned) == len(set(learned)) == 300 and learned.max() < 400
    assert sorted(scored) == list(range(400, 500))


def test_the_last_words_of_a_text_become_a_row_with_zeros_in_front():
    vocabulary = lesson_02.Vocabulary(["good", "film"])
    rows = lesson_02._rows_of(["a good film", "film"], vocabulary, 2)
    assert rows.tolist() == [[2, 3], [0, 3]]


def test_lesson_03_compares_several_starts_over_the_same_stories():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 400)
    right = np.where(rng.random((400, 2)) < 0.9, truth[:, None], 0)
    poor = np.where(rng.random(400) < 0.6, truth, 1)
    rows = lesson_03.compare(truth, {"poor": poor, "right": right}, beside="poor")
    (_, low, _, *nothing), (name, high, *_, lead, _) = rows
    assert nothing == ["", ""] and name == "right"
    assert float(lead.split()[0]) == pytest.approx(float(high) - float(low), abs=2e-3)
    assert float(lead.split("[")[1].split(",")[0]) > 0.1, "the interval's lower end"


def test_lesson_03_shows_each_start_by_itself():
    truth = np.repeat(np.arange(4), 25)
    better, worse = np.stack([truth, truth], axis=1), np.stack([truth, truth], axis=1)
    worse[:20, 1] = 3
    first, second = lesson_03.by_start(truth, better, worse)
    assert first == ["start 0", "0.000 [0.000, 0.000]", "0.000 [0.000, 0.000]"]
    assert second[:1] == ["start 1"] and second[1].startswith("0.200 [0.1")


def test_word_vectors_are_compared_and_a_table_a_question_is_kept(monkeypatch, capsys):
    """Both programs are the course's here: gensim is not installed for a test."""

    def train(self, who, apart=None, **changed):
        settings = lesson_09.SETTINGS | {"dimensions": 16, "epochs": 1} | changed
        texts = word2vec.read_texts(self.texts)
        settings["seed"] += who == "gensim"
        return word2vec.train_ours(texts, self.n_words, **settings | {"epochs": 1})

    monkeypatch.setattr(lesson_09.Trainer, "train", train)
    monkeypatch.setattr(lesson_09.Trainer, "install_gensim", lambda self: None)
    kept = {}
    monkeypatch.setattr(
        lesson_09,
        "store",
        lambda name, command, columns, rows: kept.update({name: rows}),
    )
    lesson_09.run(argparse.Namespace(reviews=150, seeds=1))
    assert [row[0] for row in kept["09_gensim"]] == [
        "skip-gram, 5 epochs",
        "gensim, 5 epochs",
        "first minus second",
    ]
    assert len(kept["09_word_vectors"]) == 5 and len(kept["09_windows"]) == 3
    assert [float(row[1]) for row in kept["09_weat"]] == [1.81, 1.53, 1.5, 1.24, 1.06]
    said = capsys.readouterr().out
    assert "150 reviews" in said and "covered" in said


def test_gensim_is_pinned_by_digests_and_its_absence_is_named(monkeypatch, tmp_path):
    pins = lesson_09.PINS.read_text()
    assert re.findall(r"^(\w+)==", pins, re.M) == ["gensim", "smart_open", "wrapt"]
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", pins)) == 25
    trainer = lesson_09.Trainer(tmp_path, [np.array([1, 2]), np.array([0])], 3)
    texts = word2vec.read_texts(trainer.texts)
    assert [row.tolist() for row in texts] == [[1, 2], [0]]
    failed = subprocess.CompletedProcess([], 1, "", "no network\n")
    monkeypatch.setattr(lesson_09.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(CourseError, match="gensim could not be installed: no network"):
        trainer.install_gensim()


def test_too_few_reviews_are_refused():
    with pytest.raises(UsageError, match="--reviews takes 100 or more"):
        lesson_09.run(argparse.Namespace(reviews=20, seeds=1))


def test_a_tiny_run_of_lesson_10_keeps_three_tables(monkeypatch, capsys):
    """One epoch of everything, and no library beside it."""
    lesson = bench.recipe(10)
    fit_bpr, towers, skip_gram = (
        lesson[name] for name in ("fit_bpr", "train_towers", "train_skip_gram")
    )
    lesson["fit_bpr"] = lambda seen, seed=0: fit_bpr(seen, 1, seed)
    lesson["train_towers"] = lambda *given, seed: towers(*given, epochs=1, seed=seed)
    lesson["train_skip_gram"] = lambda *given, **named: skip_gram(
        *given, **named | {"epochs": 1}
    )
    monkeypatch.setattr(lesson_10, "recipe", lambda number: lesson)
    monkeypatch.setitem(sys.modules, "implicit.bpr", None)
    kept = []
    monkeypatch.setattr(lesson_10, "store", lambda *given: kept.append(given))
    assert main(["bench", "10", "--seeds", "2", "--folds", "3"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and "Without implicit, which is not installed" in said.out
    assert [name for name, *_ in kept] == ["10_warm", "10_splits", "10_cold"]
    for _, command, columns, rows in kept:
        assert command == "course bench 10 --seeds 2 --store --folds 3"
        assert {len(row) for row in rows} == {len(columns)}
    warm, splits, cold = ({row[0]: row[1:] for row in rows} for *_, rows in kept)
    # What draws nothing at random does not depend on the epochs.
    assert [one[:5] for one in warm["popularity"][:2]] == ["0.318", "0.065"]
    assert set(warm) == {
        "popularity",
        "item-kNN",
        "EASE",
        "BPR, 2 seeds",
        "item2vec, 2 seeds",
    }
    assert "to" in splits["random tenth: RecBole's BPR, published"][0]
    assert cold["predicted popularity"][1] == cold["two towers, columns"][2] == ""


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--folds", "1"]])
def test_wrong_options_of_lesson_10_are_one_sentence(arguments, capsys):
    assert main(["bench", "10", *arguments]) != 0
    assert capsys.readouterr().err.count("\n") == 1


def test_a_published_split_is_read_without_unpickling(tmp_path, monkeypatch):
    # Users and films count from 1 as they first occur: 7 and 5 are the first ones.
    user, film = np.array([7, 7, 2, 7, 2]), np.array([5, 0, 5, 9, 9])
    made = {
        "cold_items": [
            np.int32(9)
        ],  # as in the file; it brings NumPy's type of numbers
        "train_user_list": [set(), {1, 3}, {3}],
        "test_user_list": [set(), {np.int32(2)}, {np.int32(1)}],
        "item_dict": {1: [4]},
    }
    path = tmp_path / "split.pkl"
    path.write_bytes(pickle.dumps(made, protocol=4))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(lesson_10, "QIAN_SHA256", digest)
    part = lesson_10.published_split(str(path), user, film)
    assert part.tolist() == [0, 2, 2, 0, 0]


@pytest.mark.parametrize(
    ("name", "words"), [("split.pkl", "another file"), ("none.pkl", "cannot be read")]
)
def test_another_split_is_refused_in_one_sentence(tmp_path, name, words):
    (tmp_path / "split.pkl").write_bytes(b"another")
    with pytest.raises(UsageError, match=words):
        lesson_10.published_split(str(tmp_path / name), np.zeros(1), np.zeros(1))
