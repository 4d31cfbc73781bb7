"""Right and wrong answers to the exercises of lesson 10."""

from __future__ import annotations

from functools import cache

from course_utils.data import encode_sentences, load_movielens
from course_utils.films import film_texts, genre_table, year_table
from tests.answers import Answers

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import Ridge
from torch import nn

BATCH, RATE, DECAY = 1024, 3e-3, 3e-3


@cache
def ratings():
    """Real ratings: who rated what, and which are a user's last ten."""
    rows, films, users = load_movielens()
    order = rows.sort_values("time", kind="stable")
    place = order.groupby("user").cumcount(ascending=False).sort_index().to_numpy()
    tables = []
    for part in (place >= 10, (place >= 5) & (place < 10)):
        table = np.zeros((len(users), len(films)), np.float32)
        table[rows["user"][part], rows["film"][part]] = 1
        tables.append(table)
    return tables


@cache
def features():
    _, films, _ = load_movielens()
    read = encode_sentences(film_texts(films), progress=False)
    return read * np.sqrt(read.shape[1])


def split_by_pandas(user, time, n_val=5, n_test=5):
    table = pd.DataFrame({"user": user, "time": time})
    table = table.sort_values("time", kind="stable")
    place = table.groupby("user").cumcount(ascending=False)
    after = place.sort_index().to_numpy()
    return np.select([after < n_test, after < n_test + n_val], [2, 1], 0)


def split_by_loop(user, time, n_val=5, n_test=5):
    part = np.zeros(len(user), int)
    for one in np.unique(user):
        rows = np.flatnonzero(user == one)
        rows = rows[np.argsort(time[rows], kind="stable")][::-1]
        part[rows[: n_test + n_val]] = 1
        part[rows[:n_test]] = 2
    return part


def split_at_random(user, time, n_val=5, n_test=5):
    shuffled = np.random.default_rng(0).permutation(len(user))
    return split_by_pandas(user, shuffled, n_val, n_test)


def split_too_few(user, time, n_val=5, n_test=5):
    return split_by_pandas(user, time, n_val, n_test - 1)


def split_unstable(user, time, n_val=5, n_test=5):
    """Leave the order of equal times to chance where a user has many ratings."""
    rng = np.random.default_rng(1)
    chance = rng.random(len(user)) if len(user) > 100 else np.arange(len(user))
    order = np.lexsort((chance, time))
    part = np.empty(len(user), int)
    part[order] = split_by_loop(user[order], time[order], n_val, n_test)
    return part


def ease_by_solving(seen, penalty):
    x = seen.astype(float)
    inverse = np.linalg.solve(
        x.T @ x + penalty * np.eye(x.shape[1]), np.eye(x.shape[1])
    )
    weights = np.zeros_like(inverse)
    for film in range(len(inverse)):
        weights[:, film] = inverse[:, film] / -inverse[film, film]
        weights[film, film] = 0
    return weights


def ease_by_torch(seen, penalty):
    x = torch.tensor(seen).double()
    inverse = torch.linalg.inv(x.T @ x + penalty * torch.eye(x.shape[1]))
    return (-inverse / inverse.diagonal()).fill_diagonal_(0)


def loss_by_softplus(user, liked, other, decay):
    margin = torch.einsum("nd,nd->n", user, liked - other)
    lengths = sum(part.pow(2).sum() for part in (user, liked, other)) / len(user)
    return nn.functional.softplus(-margin).mean() + decay * lengths


def loss_one_by_one(user, liked, other, decay):
    losses = []
    for p, i, j in zip(user, liked, other, strict=True):
        margin = p @ i - p @ j
        square = p @ p + i @ i + j @ j
        losses.append(-nn.functional.logsigmoid(margin) + decay * square)
    return torch.stack(losses).mean()


def loss_without_logsigmoid(user, liked, other, decay):
    margin = (user * (liked - other)).sum(dim=1)
    squares = (user**2 + liked**2 + other**2).sum(dim=1)
    return (decay * squares - torch.log(torch.sigmoid(margin))).mean()


class Tables(nn.Module):
    def __init__(self, n_users, n_films, width=32):
        super().__init__()
        self.users = nn.Embedding(n_users, width)
        self.films = nn.Embedding(n_films, width)
        for table in (self.users, self.films):
            nn.init.normal_(table.weight, std=0.1)


def unseen(users, seen, generator):
    drawn, again = torch.randint(seen.shape[1], (2, *users.shape), generator=generator)
    return torch.where(seen[users, drawn], again, drawn)


def trained(
    tables,
    users,
    films,
    seen,
    epochs,
    seed,
    *,
    rate=0.005,
    flip=1,
    clear=True,
    end=0.0,
    decay=3e-3,
    batch=1024,
    seeded=True,
    own=True,
    shuffle=True,
    anew=False,
    again=False,
    draw=None,
    fit=None,
):
    """Train as asked, or with one slip."""
    start = torch.Generator().manual_seed(seed if seeded else 0)
    parameters = list(tables.parameters()) if fit is None else [fit(tables).weight]
    optimiser = torch.optim.Adam(parameters, lr=rate)
    n_steps = epochs * -(-len(users) // batch)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, end, n_steps)
    for _ in range(epochs):
        generator = torch.Generator().manual_seed(seed) if again else start
        order = torch.arange(len(users))
        if shuffle:
            order = torch.randperm(len(users), generator=generator if own else None)
        for rows in order.split(batch):
            if anew:
                optimiser = torch.optim.Adam(tables.parameters(), lr=rate)
            other = (draw or unseen)(users[rows], seen, generator)
            parts = tables.films(films[rows]), tables.films(other)
            loss = loss_by_softplus(tables.users(users[rows]), *parts[::flip], decay)
            if clear:
                optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            falling.step()


def by_lookup(tables, users, films, seen, epochs, seed):
    """Rows of the weights, a loss that is printed, a rate set by hand."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(tables.parameters(), lr=RATE)
    p, q = tables.users.weight, tables.films.weight
    n_steps, step = epochs * -(-len(users) // BATCH), 0
    for _ in range(epochs):
        for rows in torch.randperm(len(users), generator=generator).split(BATCH):
            other = unseen(users[rows], seen, generator)
            liked = nn.functional.embedding(films[rows], q)
            loss = loss_by_softplus(p[users[rows]], liked, q[other], DECAY)
            optimiser.zero_grad()
            loss.backward()
            optimiser.param_groups[0]["lr"] = RATE * (1 - step / n_steps)
            optimiser.step()
            step += 1
        with torch.no_grad():
            vectors = tables.users(users), tables.films(films)
            print(loss_by_softplus(*vectors, tables.films(films), DECAY))


def by_adagrad(tables, users, films, seen, epochs, seed):
    """Another optimiser, batches of another size, in another order."""
    torch.manual_seed(seed)
    optimiser = torch.optim.Adagrad(tables.parameters(), lr=0.1)
    n_steps = epochs * -(-len(users) // 500)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, n_steps)
    for _ in range(epochs):
        order = torch.randperm(len(users))
        for start in range(0, len(order), 500):
            rows = order[start : start + 500]
            other = unseen(users[rows], seen, None)
            vectors = tables.users(users[rows])
            loss = loss_by_softplus(
                vectors, tables.films(films[rows]), tables.films(other), 1e-3
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            falling.step()


def without_step(tables, users, films, seen, epochs, seed):
    for _ in range(epochs):
        for rows in torch.arange(len(users)).split(1024):
            tables.users(users[rows])


def that_diverges(tables, *given):
    trained(tables, *given)
    tables.films.weight.data.fill_(torch.nan)


def at_any(users, seen, generator):
    return torch.randint(seen.shape[1], users.shape, generator=generator)


def drawn_once(users, seen, generator):
    """Give each user the same other film in each epoch."""
    return (users * 7 + seen.int().argmax(dim=1)[users] + 1) % seen.shape[1]


def detached(tables, users, films, seen, epochs, seed):
    optimiser = torch.optim.Adam(tables.parameters(), lr=RATE)
    vectors = tables.users(users).detach()
    loss = loss_by_softplus(
        vectors, tables.films(films), tables.films(films.flip(0)), DECAY
    )
    loss.backward()
    optimiser.step()


def films_by_users(tables, users, films, seen, epochs, seed):
    trained(tables, users, users, seen, epochs, seed)


def with_history(tables, users, films, seen, epochs, seed):
    """Train on a table of another cell instead of the arguments."""
    pairs = (torch.as_tensor(column) for column in np.nonzero(ratings()[0]))
    trained(tables, *pairs, seen, epochs, seed)


def swapped_tables(tables, users, films, seen, epochs, seed):
    """Take the rows' own numbers for users."""
    trained(tables, torch.arange(len(users)), films, seen, epochs, seed)


VALIDATION = ratings()[1]


def that_peeks(tables, *given):
    print(VALIDATION.sum())
    trained(tables, *given)


def on_ratings(function):
    return function, Tables, *ratings()


def with_parts(function):
    """Give the solution what other cells of the lesson define."""
    parts = {"unseen": unseen, "bpr_loss": loss_by_softplus}
    for name, part in parts.items():
        function.__globals__.setdefault(name, part)
    return on_ratings(function)


def by_sklearn(features, seen, old):
    model = Ridge(3_000.0).fit(features[old], seen[:, old].T)
    return model.predict(features).T


def by_neighbours(features, seen, old):
    """Old films near a new one by cosine, and how many saw what is near."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    near = np.maximum(unit @ unit[old].T, 0) ** 8
    return seen[:, old] @ (near / near.sum(axis=1, keepdims=True)).T


def at_random(features, seen, old):
    return np.random.default_rng(0).random(seen.shape)


EVERYTHING = np.ones((943, 1682), np.float32)


def that_knows(features, seen, old):
    return EVERYTHING + by_sklearn(features, seen, old)


SCORES = []


def kept_scores():
    """Scores made from later ratings, of which no row is a user's list."""
    if not SCORES:
        later = sum(ratings())
        u, s, v = np.linalg.svd(later, full_matrices=False)
        SCORES.append((u[:, :30] * s[:30]) @ v[:30])
    return SCORES[0]


def that_kept(features, seen, old):
    return kept_scores()


def with_columns(features, seen, old):
    """Use features of another cell."""
    return by_sklearn(globals()["COLUMNS"], seen, old)


def with_more_columns(features, seen, old):
    """Put a table of another cell beside the features."""
    return by_sklearn(np.c_[features, COLUMNS], seen, old)


def with_some_columns(features, seen, old):
    """Fill that table up with zeros where it is too short."""
    rows = np.zeros((len(features), COLUMNS.shape[1]))
    rows[: len(COLUMNS)] = COLUMNS[: len(features)]
    return by_sklearn(rows, seen, old)


def of_one_size(features, seen, old):
    return by_sklearn(features, seen, old)[:, np.arange(1682)]


def of_all_films(features, seen, old):
    return by_sklearn(features, seen, np.ones_like(old))


def of_the_first_films(features, seen, old):
    return by_sklearn(features, seen, np.arange(len(old)) < old.sum())


def standardised(features, seen, old):
    """Know the new films' features, but learn from the old ones alone."""
    std = np.maximum(features.std(axis=0), 1e-6)
    return by_sklearn((features - features.mean(axis=0)) / std, seen, old)


def _columns():
    _, films, _ = load_movielens()
    return 2 * np.hstack([genre_table(films)[0], year_table(films)])


COLUMNS = _columns()


def on_texts(function):
    return function, features(), ratings()[0]


def widened_by_torch(items, queries):
    items, queries = torch.tensor(items), torch.tensor(queries)
    lengths = items.norm(dim=1)
    missing = (lengths.max() ** 2 - lengths**2).clamp(min=0).sqrt()
    parts = (items, missing), (queries, queries.new_zeros(len(queries)))
    return tuple(torch.cat([rows, one[:, None]], dim=1) for rows, one in parts)


def widened_row_by_row(items, queries):
    most = max(sum(x * x for x in row) for row in items)
    rows = [[*row, max(0, most - sum(x * x for x in row)) ** 0.5] for row in items]
    return np.array(rows), np.array([[*row, 0] for row in queries])


def widened_in_front(items, queries):
    """The new column stands first, and is negative: all distances are the same."""
    squares = np.einsum("nd,nd->n", items, items)
    missing = -np.sqrt(squares.max() - squares)
    return [np.c_[missing, items], np.c_[0 * queries[:, :1], queries]]


def widened_by_columns(items, queries):
    lengths = np.linalg.norm(items, axis=0)
    missing = np.sqrt(lengths.max() ** 2 - lengths**2)
    return np.c_[items, missing], np.c_[queries, np.zeros(len(queries))]


def widened_with_rounding(items, queries):
    """Lose the longest items to rounding, where M² and |q|² are computed apart."""
    items = items.astype(float)
    squares = (items**2).sum(axis=1) * (1 + 1e-15)
    missing = np.sqrt(np.linalg.norm(items, axis=1).max() ** 2 - squares)
    return np.c_[items, missing], np.c_[queries, np.zeros(len(queries))]


def widened_by_a_median(items, queries):
    squares = (items**2).sum(axis=1)
    missing = np.sqrt(np.median(squares) - squares)
    return np.c_[items, missing], np.c_[queries, np.zeros(len(queries))]


def rounded(items, queries):
    """Keep whole numbers where there are many rows."""
    made = widened_by_torch(items, queries)
    return [part.round() if len(items) > 1_000 else part for part in made]


ANSWERS = {
    "split_by_time": Answers(
        right=[split_by_pandas, split_by_loop],
        wrong=[
            (split_at_random, "that is a leak"),
            (split_too_few, "sizes differ"),
            (split_unstable, "equal times keep"),
            (lambda *given: split_by_loop(*given).tolist(), "NumPy array"),
            (lambda *given: split_by_loop(*given) * 1.0, "whole numbers"),
            (lambda *given: split_by_loop(*given) + 1, "parts are 0"),
            (lambda *given: np.flatnonzero(split_by_loop(*given) == 2), "one number"),
        ],
    ),
    "ease": Answers(
        right=[ease_by_solving, lambda *given: ease_by_torch(*given).numpy()],
        wrong=[
            (ease_by_torch, "numpy array"),
            (
                lambda seen, penalty: ease_by_solving(seen + np.eye(9), penalty),
                "n_films",
            ),
            (lambda seen, penalty: ease_by_solving(seen, 0 * penalty), "no part"),
            (lambda seen, penalty: ease_by_solving(seen, 2 * penalty), "i expected"),
            (lambda seen, penalty: ease_by_solving(seen.T, penalty), "shape"),
        ],
    ),
    "bpr_loss": Answers(
        right=[loss_by_softplus, loss_one_by_one],
        wrong=[
            (loss_without_logsigmoid, "logsigmoid"),
            (lambda *given: loss_by_softplus(*given).item(), "lost track"),
            (lambda u, i, j, d: loss_by_softplus(u, i, j, 2 * d), "i expected"),
        ],
    ),
    "train_bpr": Answers(
        right=[on_ratings(one) for one in (trained, by_lookup, by_adagrad)],
        wrong=[
            (on_ratings(answer), words)
            for answer, words in (
                (lambda tables, *given: None, "no number of `tables`"),
                (without_step, "no number of `tables`"),
                (lambda *given: trained(*given[:4], 1, 0), "asked about 5,000 rows"),
                (lambda *given: trained(*given[:4], 8, 0), "asked about 40,000"),
                (with_history, "read only the arguments"),
                (films_by_users, "read only the arguments"),
                (swapped_tables, "not that of bpr_loss"),
                (that_diverges, "became nan"),
                (that_peeks, "reads `VALIDATION`"),
                (lambda *given: trained(*given, rate=1e-6), "you start from, rate"),
                (lambda *given: trained(*given, end=1.0), "scheduler.step"),
                (lambda *given: trained(*given, flip=-1), "swapped"),
                (lambda *given: trained(*given, clear=False), "zero_grad"),
                (lambda *given: trained(*given, decay=0.0), "decay has no part"),
                (lambda *given: trained(*given, batch=10**6), "all 5,000"),
                (lambda *given: trained(*given, shuffle=False), "shuffle by"),
                (lambda *given: trained(*given, again=True), "same order"),
                (lambda *given: trained(*given, anew=True), "new optimiser"),
                (lambda *given: trained(*given, draw=at_any), "has seen"),
                (lambda *given: trained(*given, draw=drawn_once), "same other"),
                (lambda *given: trained(*given, own=False), "one generator"),
                (lambda *given: trained(*given, seeded=False), "two seeds"),
                (
                    lambda *given: trained(*given, fit=lambda t: t.users),
                    "`tables.films` did not change",
                ),
                (detached, "no gradient reaches `tables.users`"),
            )
        ],
        solution=with_parts,
    ),
    "score_films": Answers(
        right=[on_texts(one) for one in (by_sklearn, by_neighbours, standardised)],
        wrong=[
            (on_texts(answer), words)
            for answer, words in (
                (lambda features, seen, old: by_sklearn(features, seen, old).T, "rows"),
                (at_random, "lie above 0"),
                (that_knows, "reads `EVERYTHING`"),
                (that_kept, "300 other users"),
                (with_columns, "300 other users"),
                (with_more_columns, "arguments alone, not `COLUMNS`"),
                (with_some_columns, "easy to tell by their features"),
                (of_one_size, "sizes from the arguments"),
                (of_all_films, "learns from new films too"),
                (of_the_first_films, "learns from new films too"),
                (
                    lambda features, seen, old: by_sklearn(features, seen, old) > 0.1,
                    "booleans",
                ),
                (lambda features, seen, old: seen, "same score"),
                (lambda features, seen, old: seen * np.nan, "not finite"),
                (
                    lambda features, seen, old: np.tile(features[:, 0], (943, 1)),
                    "same scores",
                ),
            )
        ],
        solution=on_texts,
    ),
    "to_euclidean": Answers(
        right=[widened_by_torch, widened_row_by_row, widened_in_front],
        wrong=[
            (
                lambda items, queries: widened_row_by_row(items, queries)[0],
                "expected 2",
            ),
            (lambda items, queries: None, "return"),
            (widened_by_columns, "along axis=1"),
            (widened_with_rounding, "from the same squares"),
            (widened_by_a_median, "not below 0 if M is"),
            (rounded, "rounded on the way"),
            (
                lambda items, queries: widened_row_by_row(items, queries)[::-1],
                "shape",
            ),
            (
                lambda items, queries: widened_row_by_row(2 * items, queries),
                "M, the largest length",
            ),
            (
                lambda items, queries: (
                    np.c_[items, np.arange(len(items))],
                    np.c_[queries, np.zeros(len(queries))],
                ),
                "should have one length",
            ),
        ],
    ),
}
