"""Lesson 05: the recipe beside the post's, losses beside each other, unseen classes.

The recipes are the notebook's own cells. Each run has a process of its own, with the
same number of threads. Time is CPU seconds of that process, so that other programs do
not count; measuring accuracy does not count either.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from course_tools.bench import n_threads, recipe, run_apart, store, table
from course_tools.bench.garment_report import ORIGINAL_EPOCHS, draw, report
from course_tools.bench.garment_report import rows as rows_of
from course_utils.data.fashion_mnist import FASHION_MNIST_CLASSES, write_garment_vectors
from course_utils.errors import UsageError
from course_utils.evaluation import Interval, mean_interval, paired_bootstrap

import numpy as np

CANDIDATES = (1, 3, 5, 10, 20, 50, 100, 200)
VECTOR_EPOCHS = 8
TABLES = ("recipes", "losses", "unseen")
CONTRASTIVE, SOFTMAX = "contrastive", "softmax, layer before the last"
N_UNSEEN, UNSEEN_K = 3, 10


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options to those of ``course bench``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.
    """
    group = parser.add_argument_group("lesson 05")
    group.add_argument(
        "--garment-tables",
        nargs="+",
        choices=TABLES,
        default=TABLES,
        help="which to measure (default: all); losses and unseen take several --seeds",
    )
    group.add_argument(
        "--garment-vectors",
        action="store_true",
        help="train on all training pictures, write the vectors that come with the "
        "course, and measure nothing else",
    )
    group.add_argument(
        "--original-epochs",
        type=int,
        default=ORIGINAL_EPOCHS,
        metavar="N",
        help="run the original for N epochs and extrapolate the rest from their time "
        f"(default {ORIGINAL_EPOCHS}, all of it, above an hour)",
    )
    group.add_argument(
        "--epochs", type=int, metavar="N", help="run the course's recipe for N epochs"
    )
    group.add_argument(
        "--pictures", type=int, metavar="N", help="use N training pictures, for a trial"
    )
    group.add_argument(
        "--width", type=int, metavar="N", help="filters of the course's first layer"
    )
    group.add_argument(
        "--plot", default="bench_05.png", metavar="FILE", help="where the plot goes"
    )


def run(options: argparse.Namespace) -> None:
    """Measure the tables that were asked for, print and store them.

    Parameters
    ----------
    options : argparse.Namespace
        Those of `add_options`, and ``seeds``, how often the course's recipe runs.

    Raises
    ------
    UsageError
        When a number is below 1, or above the original's epochs.
    CourseError
        When a recipe stops.
    """
    if not 1 <= options.original_epochs <= ORIGINAL_EPOCHS:
        raise UsageError(f"--original-epochs takes 1 to {ORIGINAL_EPOCHS}.")
    given = [options.seeds, options.epochs, options.width]
    if min(1 if one is None else one for one in given) < 1:
        raise UsageError("--epochs, --seeds and --width take 1 or more.")
    if options.pictures is not None and options.pictures < 600:
        raise UsageError("--pictures takes 600 or more.")
    print(f"Lesson 05, Fashion-MNIST, {n_threads()} threads, CPU", flush=True)
    if options.garment_vectors:
        print(f"{VECTOR_EPOCHS} epochs on all training pictures", flush=True)
        run_apart(__name__, ["vectors", *_sizes(options)], _tell("vectors", 0))
        return
    parts = {"recipes": _recipes, "losses": _losses, "unseen": _unseen}
    for name in options.garment_tables:
        parts[name](options, _command(options, name))


def _sizes(options: argparse.Namespace) -> list[str]:
    """Options that change the size of a run, as they were given."""
    named = {
        "--epochs": options.epochs,
        "--pictures": options.pictures,
        "--width": options.width,
    }
    return [
        word
        for name, value in named.items()
        if value is not None
        for word in (name, str(value))
    ]


def _command(options: argparse.Namespace, name: str) -> str:
    words = ["course bench 5 --garment-tables", name, f"--seeds {options.seeds}"]
    if name == "recipes" and options.original_epochs < ORIGINAL_EPOCHS:
        words.append(f"--original-epochs {options.original_epochs}")
    return " ".join([*words, *_sizes(options), "--store"])


def _recipes(options: argparse.Namespace, command: str) -> None:
    """Time both recipes until the published accuracy, and draw their curves."""
    original_epochs = options.original_epochs
    sizes = _sizes(argparse.Namespace(**{**vars(options), "epochs": None}))
    original = _measure("original", original_epochs, 0, sizes)
    short = options.epochs or recipe(5)["SHORT_EPOCHS"]
    ours = [_measure("course", short, 0, sizes)]
    ours += [_measure("course", options.epochs, s, sizes) for s in range(options.seeds)]
    print()
    print(report(original, ours))
    head, *rows = rows_of(original, ours)
    store("05_recipes", command, head, rows)
    columns = ["epoch", "loss", "val_loss", "accuracy", "val_accuracy", "kNN"]
    store(
        "05_original",
        command,
        columns,
        _told(original),
    )
    draw(original, ours[1], Path(options.plot))
    print(f"Accuracy against CPU seconds: {options.plot}")


def _told(original: dict[str, Any]) -> list[list[Any]]:
    """Epochs of the original as rows: losses, accuracies of pairs, kNN."""
    kept = ("loss", "val_loss", "accuracy", "val_accuracy")
    return [
        [
            epoch["epoch"],
            *(_short(epoch.get("logs", {}).get(name)) for name in kept),
            _short(epoch["accuracy"]),
        ]
        for epoch in original["epochs"]
    ]


def _short(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _measure(
    name: str, epochs: int | None, seed: int, sizes: list[str]
) -> dict[str, Any]:
    """Run one recipe in a process of its own, telling each epoch as it ends."""
    arguments = [name, "--seed", str(seed), *sizes]
    if epochs is not None:
        arguments += ["--epochs", str(epochs)]
    lines = run_apart(__name__, arguments, _tell(name, seed))
    head = next(line for line in lines if "parameters" in line)
    return {**head, "epochs": [line for line in lines if "epoch" in line]}


def _tell(name: str, seed: int) -> Callable[[dict[str, Any]], None]:
    def tell(line: dict[str, Any]) -> None:
        if "epoch" in line:
            score = line["accuracy"]
            known = "" if score is None else f"  kNN {score:.4f} (k = {line['k']})"
            if "held_out" in line:
                known += f", held out {line['held_out']:.4f}"
            print(
                f"{name:<8}  seed {seed}  epoch {line['epoch']:>2}  "
                f"{line['seconds']:6.1f} CPU s{known}",
                flush=True,
            )

    return tell


def _losses(options: argparse.Namespace, command: str) -> None:
    """Compare losses of one network and budget, and PCA, on the test pictures."""
    runs = _answers("losses", options)
    table_of(runs, "05_losses", command)


def _unseen(options: argparse.Namespace, command: str) -> None:
    """Search three garments that training did not see, a draw of three a seed."""
    draws_table(_answers("unseen", options), command)


def draws_table(runs: Sequence[dict[str, Any]], command: str) -> list[list[str]]:
    """Give each draw of unseen garments a row, print and store the table.

    Parameters
    ----------
    runs : sequence of dict
        As `table_of` takes them, with ``unseen``: names of the garments.
    command : str
        As `course_tools.bench.store` takes it.

    Returns
    -------
    list of list of str
        A draw each, its accuracies; then means, and how far the contrastive network
        is ahead, with the interval over draws where there are several.
    """
    ways = list(runs[0]["answers"])
    rows = [
        [", ".join(one["unseen"]), *(f"{_right(one, how):.3f}" for how in ways)]
        for one in runs
    ]
    means = (np.mean([_right(one, how) for one in runs]) for how in ways)
    leads = ("" if how == CONTRASTIVE else f"{_lead(runs, how):.3f}" for how in ways)
    rows += [["mean", *(f"{mean:.3f}" for mean in means)]]
    rows += [["contrastive minus it", *leads]]
    head = ["not seen in training", *ways]
    print(table([head, *rows]), flush=True)
    store("05_unseen", command, head, rows)
    return rows


def _right(run: dict[str, Any], how: str) -> float:
    return float(np.mean(np.equal(run["answers"][how], run["truth"])))


def _answers(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    runs = []
    for seed in range(options.seeds):
        arguments = [name, "--seed", str(seed), *_sizes(options)]
        lines = run_apart(__name__, arguments)
        runs.append(next(line for line in lines if "answers" in line))
        scores = {how: round(_right(runs[-1], how), 4) for how in runs[-1]["answers"]}
        print(f"{name}  seed {seed}  {scores}", flush=True)
    return runs


def table_of(runs: Sequence[dict[str, Any]], name: str, command: str) -> list[Any]:
    """Compare each way with the contrastive network, print and store the table.

    Parameters
    ----------
    runs : sequence of dict
        ``truth``, of shape (n,), and ``answers``: by way, of shape (n,); one a seed.
    name, command : str
        As `course_tools.bench.store` takes them.

    Returns
    -------
    list of list
        Rows: the way, its mean accuracy, how far the contrastive network is ahead.
        That interval is over seeds, or over test pictures where there is one seed.
    """
    rows = []
    for how in runs[0]["answers"]:
        right = [_right(one, how) for one in runs]
        lead = "" if how == CONTRASTIVE else f"{_lead(runs, how):.3f}"
        rows.append([how, round(float(np.mean(right)), 4), lead])
    over = f"{len(runs)} starts" if len(runs) > 1 else "test pictures"
    head = ["vectors", "accuracy", f"contrastive ahead by, interval over {over}"]
    print(table([head, *([str(cell) for cell in row] for row in rows)]), flush=True)
    store(name, command, head, rows)
    return rows


def _lead(runs: Sequence[dict[str, Any]], how: str) -> Interval:
    if len(runs) == 1:
        answers = runs[0]["answers"]
        return paired_bootstrap(runs[0]["truth"], answers[CONTRASTIVE], answers[how])
    return mean_interval([_right(one, CONTRASTIVE) - _right(one, how) for one in runs])


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run one recipe in this process and print a JSON object an epoch.

    Parameters
    ----------
    arguments : list of str, optional
        What to run, then options.
    """
    parts = {
        "original": _original,
        "course": _course,
        "losses": _by_loss,
        "unseen": _by_split,
        "vectors": _vectors,
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", choices=parts)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--width", type=int, default=32)
    options = parser.parse_args(arguments)
    lesson = recipe(5)
    data = lesson["load_fashion_mnist"]()
    lesson["keras"].utils.set_random_seed(options.seed)
    parts[options.recipe](lesson, data, options)


def _original(lesson: dict[str, Any], data: Any, options: argparse.Namespace) -> None:
    """Run the post's recipe: all training pictures, k = 5, as published.

    As in the post, validation pairs are of test pictures. Nothing is chosen by them.
    """
    (x_train, y_train), (x_test, y_test) = data
    x_train, y_train = x_train[: options.pictures], y_train[: options.pictures]
    x_test, y_test = x_test[: options.pictures], y_test[: options.pictures]
    scale = (x_train.std(axis=0) + 0.1).astype("float32")
    x_train, x_test = x_train / scale, x_test / scale
    embedder = lesson["post_embedder"]()
    siamese = lesson["post_siamese"](embedder)
    one, other = (np.random.default_rng(s).permutation(len(x_test)) for s in (1, 2))
    pairs = (x_test[one], x_test[other])
    same = (y_test[one] == y_test[other]).astype("float32")

    def score() -> dict[str, Any]:
        known, asked = (lesson["embed"](embedder, x) for x in (x_train, x_test))
        found = lesson["nearest"](known, asked, 5)
        right = float((lesson["vote"](y_train[found]) == y_test).mean())
        loss, accuracy = siamese.evaluate(pairs, same, batch_size=300, verbose=0)
        return {"accuracy": right, "k": 5, "val": (float(loss), float(accuracy))}

    _say(parameters=siamese.count_params(), seed=options.seed)
    siamese.fit(
        lesson["random_pairs"](x_train, y_train, seed=options.seed),
        steps_per_epoch=len(x_train) // 300,
        shuffle=False,
        epochs=options.epochs,
        verbose=0,
        callbacks=[_clock(lesson, score, lambda epoch: True)],
    )


def _split(n_train: int, options: argparse.Namespace) -> list[np.ndarray]:
    """Rows held out to choose k, one in twelve, and rows to train on."""
    shuffled = np.random.default_rng(0).permutation(n_train)[: options.pictures]
    return np.split(shuffled, [len(shuffled) // 12])


def _course(lesson: dict[str, Any], data: Any, options: argparse.Namespace) -> None:
    """Run the course's recipe: 1 of 12 pictures is set aside, to choose k."""
    (x_train, y_train), (x_test, y_test) = data
    hold, fit = _split(len(x_train), options)
    x_test, y_test = x_test[: options.pictures], y_test[: options.pictures]
    network = lesson["make_embedder"](options.width)
    epochs = options.epochs or lesson["FULL_EPOCHS"]

    def score() -> dict[str, Any]:
        of = _both_ways(lesson, network)
        known, held, asked = of(x_train[fit]), of(x_train[hold], 1), of(x_test, 1)
        k, held_out = _best_k(lesson, known, y_train[fit], held, y_train[hold])
        found = y_train[fit][lesson["nearest"](known, asked, k)]
        right = float(np.mean(lesson["vote"](found) == y_test))
        return {"accuracy": right, "k": k, "held_out": held_out}

    _say(parameters=network.count_params(), seed=options.seed)
    # Towards the end the accuracy may be the published one; before, it is not.
    late = max(1, epochs - 4)
    clock = _clock(
        lesson, score, lambda e: e == epochs or (options.seed == 0 and e >= late)
    )
    told = {"callbacks": [clock], "seed": options.seed}
    lesson["train"](network, x_train[fit], y_train[fit], epochs, **told)


def _both_ways(lesson: dict[str, Any], network: Any) -> Callable[..., np.ndarray]:
    """Make a function that gives vectors, of queries with more views."""

    def of(x: np.ndarray, is_query: int = 0) -> np.ndarray:
        return lesson["embed"](network, x, mirrored=True, shifted=bool(is_query))

    return of


def _best_k(
    lesson: dict[str, Any], known: Any, labels: Any, held: Any, held_labels: Any
) -> tuple[int, float]:
    """Choose k on held-out pictures; give their accuracy, too."""
    near = labels[lesson["nearest"](known, held, max(CANDIDATES))]
    right = {k: np.mean(lesson["vote"](near[:, :k]) == held_labels) for k in CANDIDATES}
    best = max(right, key=right.__getitem__)
    return best, float(right[best])


def _trained(
    lesson: dict[str, Any], x: Any, y: Any, options: argparse.Namespace, how: str
) -> Any:
    """Train the course's network with one loss; both see the same batches."""
    lesson["keras"].utils.set_random_seed(options.seed)
    network = lesson["make_embedder"](options.width)
    epochs = options.epochs or lesson["SHORT_EPOCHS"]
    batch = min(256, max(64, len(x) // 100))
    if how == CONTRASTIVE:
        lesson["train"](network, x, y, epochs, batch, seed=options.seed)
        return network
    named, labels = np.unique(y, return_inverse=True)
    whole = lesson["with_softmax"](network, len(named))
    loss = "sparse_categorical_crossentropy"
    lesson["train"](whole, x, labels, epochs, batch, loss=loss, seed=options.seed)
    return network


class _Components:
    """PCA with the form that ``embed`` of the lesson expects of a network."""

    def __init__(self, pictures: np.ndarray) -> None:
        from sklearn.decomposition import PCA

        solver = "covariance_eigh"
        self.pca = PCA(32, svd_solver=solver).fit(self._flat(pictures))

    @staticmethod
    def _flat(pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(len(pictures), 784) / np.float32(255)

    def predict(self, pictures: np.ndarray, **_: Any) -> np.ndarray:
        return self.pca.transform(self._flat(pictures))


class _Pixels(_Components):
    """Pictures as they come, in the same form."""

    def __init__(self) -> None:
        pass

    def predict(self, pictures: np.ndarray, **_: Any) -> np.ndarray:
        return self._flat(pictures)


def _by_loss(lesson: dict[str, Any], data: Any, options: argparse.Namespace) -> None:
    """Answer the test pictures by neighbours in each kind of vectors."""
    (x_train, y_train), (x_test, y_test) = data
    hold, fit = _split(len(x_train), options)
    x_test, y_test = x_test[: options.pictures], y_test[: options.pictures]
    x, y = x_train[fit], y_train[fit]
    networks = {
        how: _trained(lesson, x, y, options, how) for how in (CONTRASTIVE, SOFTMAX)
    }
    labels, held, asked = (y, y_train[hold]), x_train[hold], x_test
    answers = {}
    for how, network in networks.items():
        of = _both_ways(lesson, network)
        _, said = _tuned(lesson, (of(x), of(held, 1), of(asked, 1)), *labels)
        answers[how] = said.tolist()
    answers["PCA"] = _by_components(lesson, (x, held, asked), *labels).tolist()
    _say(truth=y_test.tolist(), answers=answers)


def _tuned(
    lesson: dict[str, Any], vectors: Sequence[np.ndarray], y: Any, held_labels: Any
) -> tuple[float, np.ndarray]:
    """Choose k on held-out pictures; give accuracy there, and answers."""
    known, held, asked = vectors
    k, right = _best_k(lesson, known, y, held, held_labels)
    return right, lesson["vote"](y[lesson["nearest"](known, asked, k)])


def _by_components(
    lesson: dict[str, Any], pictures: Sequence[np.ndarray], y: Any, held_labels: Any
) -> np.ndarray:
    """Answer by PCA, with other views of each picture where held-out ones gain."""
    pca = _Components(pictures[0])
    of = _both_ways(lesson, pca)
    views = [of(x, int(place > 0)) for place, x in enumerate(pictures)]
    plain = [pca.predict(x) for x in pictures]
    tried = [_tuned(lesson, way, y, held_labels) for way in (views, plain)]
    return max(tried, key=lambda one: one[0])[1]


def _by_split(lesson: dict[str, Any], data: Any, options: argparse.Namespace) -> None:
    """Train on seven garments, and search among pictures of the other three."""
    (x_train, y_train), (x_test, y_test) = data
    rng = np.random.default_rng(options.seed)
    unseen = np.sort(rng.permutation(10)[:N_UNSEEN])
    shuffled = rng.permutation(len(x_train))[: options.pictures]
    is_new = np.isin(y_train[shuffled], unseen)
    fit, bank = shuffled[~is_new], shuffled[is_new]
    asked = np.flatnonzero(np.isin(y_test[: options.pictures], unseen))
    ways: dict[str, Any] = {
        how: _trained(lesson, x_train[fit], y_train[fit], options, how)
        for how in (CONTRASTIVE, SOFTMAX)
    }
    ways |= {"PCA": _Components(x_train[fit]), "pixels": _Pixels()}
    answers = {}
    for how, network in ways.items():
        of = _both_ways(lesson, network)
        near = lesson["nearest"](of(x_train[bank]), of(x_test[asked]), UNSEEN_K)
        answers[how] = lesson["vote"](y_train[bank][near]).tolist()
    names = [FASHION_MNIST_CLASSES[label] for label in unseen]
    _say(truth=y_test[asked].tolist(), answers=answers, unseen=names)


def _vectors(lesson: dict[str, Any], data: Any, options: argparse.Namespace) -> None:
    """Write the vectors of all pictures that come with the course."""
    (x_train, y_train), (x_test, _) = data
    network = lesson["make_embedder"](options.width)
    of = _both_ways(lesson, network)
    clock = _clock(lesson, dict, lambda epoch: False)
    rows = slice(options.pictures)
    epochs = options.epochs or VECTOR_EPOCHS
    x, y = x_train[rows], y_train[rows]
    lesson["train"](network, x, y, epochs, callbacks=[clock], seed=options.seed)
    write_garment_vectors(of(x_train), of(x_test))


def _clock(lesson: dict[str, Any], score: Any, is_wanted: Any) -> Any:
    """Make a callback that times each epoch, then scores it off the clock."""
    start = 0.0

    def begin(epoch: int, logs: Any = None) -> None:
        nonlocal start
        start = time.process_time()

    def end(epoch: int, logs: Any = None) -> None:
        seconds = time.process_time() - start
        found = score() if is_wanted(epoch + 1) else {}
        kept = {name: float(value) for name, value in (logs or {}).items()}
        if "val" in found:
            kept["val_loss"], kept["val_accuracy"] = found.pop("val")
        line = {"accuracy": None, "k": None, "logs": kept, **found}
        _say(epoch=epoch + 1, seconds=seconds, **line)

    return lesson["keras"].callbacks.LambdaCallback(
        on_epoch_begin=begin, on_epoch_end=end
    )


if __name__ == "__main__":
    main()
