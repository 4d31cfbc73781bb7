"""Exercises 8.5 and 8.6: a head that is trained, and the bootstrap of its gain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from course_utils.checks.bootstrap import expect_seeded, was_rounded
from course_utils.checks.cases import Case, reference
from course_utils.checks.core import exercise, fail
from course_utils.checks.leaks import reached
from course_utils.evaluation import Interval, bootstrap
from course_utils.search import search_scores

import numpy as np

Answer = Callable[..., Any]
BAR = 0.03  # the interval of a head's gain has to lie above it
# How far apart two bootstraps of 3,000 draws may end.
DRAWN = 0.003


@exercise(
    "8.5",
    hints=[
        "One step: take a batch from the loader, send it through the head, mine "
        "triplets, compute the loss, go back, step. Around it two loops: epochs, and "
        "batches.",
        "`loader = DataLoader(TensorDataset(torch.as_tensor(vectors), "
        "torch.as_tensor(labels)), batch_size=128, shuffle=True)` and `optimiser = "
        "torch.optim.AdamW(head.parameters(), lr=1e-3)`.",
        "In the inner loop, `for x, y in loader:` `made = head(x)`, `loss = LOSS(made, "
        "y, MINER(made, y))`, `optimiser.zero_grad()`, `loss.backward()`, "
        "`optimiser.step()`. Before anything `torch.manual_seed(seed)`; after the "
        "loops `return head`.",
    ],
)
def train(answer: Answer, fit: tuple, held_out: tuple) -> str:
    """Check that a head tunes the search on threads it was not trained on.

    Both parts are pairs of vectors and labels.
    """
    vectors, labels = fit
    for name, value in reached(answer):
        if _is_data(value):
            fail(
                f"train reads `{name}`, data of other cells: a head that has seen what "
                "it is judged on looks too good. Use `vectors` and `labels` alone."
            )
    few = vectors[:256].copy(), labels[:256].copy()
    with _counted() as n_sent:
        first = _sent(answer(*few, seed=3, epochs=1), few[0])
    again = _sent(answer(*few, seed=3, epochs=1), few[0])
    if not all(map(np.array_equal, few, (vectors[:256], labels[:256]))):
        fail("train changed `vectors` or `labels` itself; work on a copy.")
    if not np.array_equal(first, again):
        fail(
            "The same seed gave two different heads: call `torch.manual_seed(seed)` "
            "before the head is made, and draw nothing from elsewhere."
        )
    with _counted() as n_longer:
        _sent(answer(*few, seed=3, epochs=3), few[0])
    if n_sent and sum(n_longer) < 2 * sum(n_sent):
        fail(
            f"For epochs=3 the head was given {sum(n_longer):,} samples to learn from, "
            f"for epochs=1 {sum(n_sent):,}: go `epochs` times through all samples, and "
            "return the head behind both loops."
        )
    asked, wanted = held_out
    made = _sent(answer(vectors.copy(), labels.copy()), asked)
    raw, new = (search_scores(v, wanted)["precision@10"] for v in (asked, made))
    gain = bootstrap(new - raw, new - raw, lambda _, drawn: float(np.mean(drawn)))
    if np.allclose(made, asked, atol=1e-4):
        fail(
            "The head gives back what it was given, as it does before training: does "
            "`optimiser.step()` run in the loop, after `loss.backward()`, on "
            "`head.parameters()`?"
        )
    if gain.low <= BAR:
        fail(f"On {len(wanted)} threads held out {_told(raw, new, gain)} {_why(gain)}")
    return (
        f"On {len(wanted)} threads held out {_told(raw, new, gain)} From 250 labels "
        "and a vote you have trained a head that searches better than none."
    )


def _is_data(value: Any, depth: int = 2) -> bool:
    """Whether a value, or a part of it, holds many numbers."""
    if isinstance(value, Mapping):
        value = list(value.values())
    parts = getattr(value, "tensors", value)  # of a data set
    if isinstance(parts, tuple | list) and len(parts) < 100:
        return depth > 0 and any(_is_data(part, depth - 1) for part in parts)
    if getattr(value, "dataset", None) is not None:
        return _is_data(value.dataset, depth)
    with contextlib.suppress(Exception):  # of what is no array
        array = np.asarray(parts)
        return array.ndim > 0 and array.dtype.kind in "biuf" and len(array) >= 100
    return False


@contextlib.contextmanager
def _counted() -> Iterator[list[int]]:
    """Count the rows that modules of the notebook get while gradients are kept."""
    import torch

    rows: list[int] = []

    def note(module: Any, given: tuple, made: Any) -> None:
        own = not type(module).__module__.startswith(("torch.", "pytorch_metric"))
        if own and given and torch.is_grad_enabled():
            rows.append(len(given[0]))

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        yield rows
    finally:
        hook.remove()


def _told(raw: np.ndarray, new: np.ndarray, gain: Interval) -> str:
    return (
        f"precision@10 was {raw.mean():.3f} raw and is {new.mean():.3f} with your "
        f"head: a gain of {gain:.3f}."
    )


def _why(gain: Interval) -> str:
    if gain.high < BAR / 2:
        return (
            f"The bar is an interval above {BAR}. Does each vector go with its own "
            "label, does the loss get the miner's triplets, and is it made smaller? A "
            "learning rate near 0.001 will do."
        )
    return (
        f"The bar is an interval above {BAR}: train for all `epochs`, on all batches, "
        "with a learning rate near 0.001."
    )


def _sent(head: Any, vectors: np.ndarray) -> np.ndarray:
    """Vectors after the head, or what is wrong with it."""
    import torch

    if head is None:
        fail("train returned nothing; end it with `return head`.")
    if not isinstance(head, torch.nn.Module):
        fail(f"train returned {type(head).__name__}; return the trained `Head` itself.")
    head.eval()
    with torch.no_grad():
        made = head(torch.as_tensor(vectors))
    if tuple(getattr(made, "shape", ())) != vectors.shape:
        fail(
            f"For vectors of shape {vectors.shape} your head gives "
            f"{tuple(getattr(made, 'shape', ()))}; return a `Head`."
        )
    made = made.numpy()
    if not np.isfinite(made).all():
        fail("Your head gives nan: the learning rate is too high; try 0.001.")
    if not np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-3):
        fail("Your head's vectors are not of length 1; return a `Head`.")
    return made


def _two_searches() -> list[Case]:
    """Scores of queries whose threads succeed or fail together."""
    cases = []
    for seed, n_threads in ((861, 150), (862, 220)):
        rng = np.random.default_rng(seed)
        sizes = rng.geometric(0.25, n_threads)
        # Any numbers, below 0 as well.
        names = rng.permutation(5 * n_threads)[:n_threads] - n_threads
        threads = np.repeat(names, sizes)
        topic = np.repeat(rng.normal(size=n_threads), sizes)
        size = np.repeat(sizes, sizes)
        raw = np.clip(0.6 + 0.2 * topic + 0.1 * rng.normal(size=len(topic)), 0, 1)
        gain = 0.02 * size + 0.1 * rng.normal(size=n_threads).repeat(sizes)
        new = np.clip(raw + gain + 0.03 * rng.normal(size=len(topic)), 0, 1)
        order = rng.permutation(len(topic))
        given = (
            f"{len(topic):,} queries of {n_threads} threads, n_draws = 3000 and seed = "
            f"{seed}"
        )
        case = (new[order], raw[order], threads[order], 3_000, seed)
        cases.append(Case(*case, given=given))
    return cases


def _drawn(score: Answer, ends: Any = (0.025, 0.975), scale: float = 1) -> Answer:
    """Make an answer: percentiles of a score for each draw of threads."""

    def answer(new: Any, raw: Any, threads: Any, n_draws: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        member = np.unique(threads, return_inverse=True)[1]
        draws = [score(new, raw, member, rng) for _ in range(n_draws)]
        return scale * np.quantile(draws, ends)

    return answer


def _sums(values: Any, member: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.bincount(member, values), np.bincount(member)


def _mean_of(values: Any, member: Any, chosen: np.ndarray) -> float:
    sums, sizes = _sums(values, member)
    return sums[chosen].sum() / sizes[chosen].sum()


def _threads(rng: Any, member: Any) -> np.ndarray:
    return rng.integers(0, member.max() + 1, member.max() + 1)


def _by_thread(new: Any, raw: Any, member: Any, rng: Any) -> float:
    return _mean_of(new - raw, member, _threads(rng, member))


def _by_query(new: Any, raw: Any, member: Any, rng: Any) -> float:
    rows = rng.integers(0, len(new), len(new))
    return (new - raw)[rows].mean()


def _of_means(new: Any, raw: Any, member: Any, rng: Any) -> float:
    sums, sizes = _sums(new - raw, member)
    return (sums / sizes)[_threads(rng, member)].mean()


def _unpaired(new: Any, raw: Any, member: Any, rng: Any) -> float:
    one, two = _threads(rng, member), _threads(rng, member)
    return _mean_of(new, member, one) - _mean_of(raw, member, two)


def _each_once(new: Any, raw: Any, member: Any, rng: Any) -> float:
    return _mean_of(new - raw, member, np.unique(_threads(rng, member)))


def _too_many(new: Any, raw: Any, member: Any, rng: Any) -> float:
    drawn = rng.integers(0, member.max() + 1, len(new))
    return _mean_of(new - raw, member, drawn)


def _by_size(new: Any, raw: Any, member: Any, rng: Any) -> float:
    drawn = member[rng.integers(0, len(new), member.max() + 1)]
    return _mean_of(new - raw, member, drawn)


def _over_all(new: Any, raw: Any, member: Any, rng: Any) -> float:
    sums, _ = _sums(new - raw, member)
    return sums[_threads(rng, member)].sum() / len(new)


def _no_width(got: Any, expected: Any, *_: Any) -> str:
    if got.shape != expected.shape:
        return ""
    if np.isclose(got[0], got[1], rtol=0, atol=1e-9):
        return (
            "Both ends are the same: every draw came out alike. Make the generator "
            "once, before the loop, and draw threads with replacement."
        )
    if was_rounded(got, expected):
        return "Did you round the ends? Return them as they are."
    if got[0] < got[1]:
        width = (got[1] - got[0]) / (expected[1] - expected[0])
        if width > 1.1:
            return "Too wide: does each draw have as many threads as there are?"
        if width < 0.9:
            return (
                "Too narrow: a thread that was drawn twice counts twice, with all its "
                "queries."
            )
    return ""


def _with_few_draws(answer: Answer) -> None:
    expect_seeded("gain_interval", answer, *_two_searches()[0].arguments[:3])


def _close_to(got: Any, expected: Any, *_: Any) -> bool:
    """Accept other random streams."""
    return got.shape == expected.shape and np.allclose(
        got, expected, atol=DRAWN, rtol=0
    )


@reference(
    "8.6",
    hints=[
        "What is drawn is a thread. Which queries come with it, and how many queries "
        "does the draw have then?",
        "`names = np.unique(threads)`, and for each name its rows, "
        "`np.flatnonzero(threads == name)`. A draw is `rng.integers(0, len(names), "
        "len(names))`; put the rows of all drawn threads together.",
        "`rows = [np.flatnonzero(threads == name) for name in names]`; in the loop "
        "`drawn = np.concatenate([rows[t] for t in rng.integers(0, len(rows), "
        "len(rows))])` and `draws.append((new - raw)[drawn].mean())`; return "
        "`np.quantile(draws, [0.025, 0.975])`.",
    ],
    cases=_two_searches,
    mistakes={
        "You drew single queries. Those of one thread succeed or fail together: draw "
        "threads, and take all their queries.": _drawn(_by_query),
        "That is the mean of the threads' means, in which a thread of one query counts "
        "as much as one of ten. Average over all queries of the draw.": (
            _drawn(_of_means)
        ),
        "You drew threads for `new` and for `raw` separately: both must have the same "
        "queries in a draw.": _drawn(_unpaired),
        "A thread that was drawn twice counts twice, with all its queries.": (
            _drawn(_each_once)
        ),
        "That is raw minus new; I asked for new minus raw.": (
            _drawn(lambda new, raw, *rest: _by_thread(raw, new, *rest))
        ),
        "Each draw has as many threads as there are threads, not as there are "
        "queries.": _drawn(_too_many),
        "Each thread has the same chance to be drawn, whatever its size: draw from "
        "`np.unique(threads)`.": _drawn(_by_size),
        "Divide by the number of queries in the draw, which differs from draw to "
        "draw.": _drawn(_over_all),
        "`np.percentile` counts from 0 to 100: 2.5 and 97.5, or take `np.quantile`.": (
            _drawn(_by_thread, (0.00025, 0.00975))
        ),
        "That is the middle 90 %: cut off 2.5 % at each end, not 5 %.": (
            _drawn(_by_thread, (0.05, 0.95))
        ),
        "Those are the smallest and the largest draw; take the percentiles 2.5 and "
        "97.5.": _drawn(_by_thread, (0, 1)),
        "The upper end came first; return low, then high.": (
            _drawn(_by_thread, (0.975, 0.025))
        ),
        "That is the interval of the new scores; I asked for that of the gain.": (
            _drawn(lambda new, raw, *rest: _by_thread(new, 0 * raw, *rest))
        ),
        "That is in percent; the scores are shares from 0 to 1.": (
            _drawn(_by_thread, scale=100)
        ),
        "Those are percentiles of the queries' own gains. Average them over a draw, "
        "then look at many draws.": (
            lambda new, raw, *_: np.quantile(new - raw, [0.025, 0.975])
        ),
    },
    accepts=_close_to,
    slip=_no_width,
    then=_with_few_draws,
    # Mistakes are recognised from other random streams too.
    atol=DRAWN,
    passed="Queries of one thread are no independent witnesses, so threads are drawn. "
    "If zero lies outside, the gain is more than the choice of threads explains.",
)
def gain_interval(new: Any, raw: Any, threads: Any, n_draws: int, seed: int) -> Any:
    """Draw how often each thread comes, many more times."""
    member = np.unique(threads, return_inverse=True)[1]
    sums, sizes = _sums(new - raw, member)
    even = np.full(len(sizes), 1 / len(sizes))
    counts = np.random.default_rng(9_000 + seed).multinomial(
        len(sizes), even, size=20_000
    )
    return np.quantile((counts @ sums) / (counts @ sizes), [0.025, 0.975])
