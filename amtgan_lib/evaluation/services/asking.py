"""Pairs of pictures, sent to services after a confirmation, and the rows that their answers make."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from amtgan_lib.datasets import Progress
from amtgan_lib.evaluation.recognition import Facts, provenance
from amtgan_lib.evaluation.scores import mean_interval, wilson
from amtgan_lib.evaluation.services.answers import (
    ANSWERED,
    FINAL,
    QUOTA,
    REFUSED,
    SIDE,
    TIME_OUT,
    WRONG_KEY,
    Answer,
    Answers,
    Failure,
    Picture,
    Service,
    picture,
)
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

TRIES = 4  # of one comparison
PAUSE_SECONDS = 2.0  # before the second try, twice as long before each later one


class NotConfirmed(Exception):
    """Nobody confirmed that pictures may be sent; nothing was sent."""


def questions(
    reports: Mapping[str, pd.DataFrame], target: str | Path, files: Mapping[str, Path], side: int = SIDE
) -> pd.DataFrame:
    """Which pictures are compared: each photo, clean and by every method, with the target's and its owner's other one.

    reports: of ``experiments.protect_pairs``, with the columns source (the whole clean photo) and other (an asset,
    whose file is in ``files``). A photo that a method failed to protect is asked about as it would be published: clean.
    Columns: method, metric (impersonation or dodging), first, second (``Picture``, its longer side at most ``side``).
    """
    read = functools.cache(functools.partial(picture, side=side))
    photos = [("clean", row.source, row.other) for row in next(iter(reports.values())).itertuples()]
    for method, report in reports.items():
        photos += [(method, row.protected or row.source, row.other) for row in report.itertuples()]
    rows = []
    for method, file, other in photos:
        for metric, known in (("impersonation", target), ("dodging", files[other])):
            rows.append({"method": method, "metric": metric, "first": read(file), "second": read(known)})
    return pd.DataFrame(rows)


def estimate(
    services: Iterable[Service], asked: pd.DataFrame, answers: Answers, prices: Mapping[str, float]
) -> pd.DataFrame:
    """What asking would take: a row a service, with what it lacks, the comparisons to come, their minutes and cost.

    prices: {service: for 1000 transactions}, in whatever currency; the cost of others is NaN. Nothing is sent.
    """
    rows = []
    for service in services:
        count = len(_open(service, asked, answers))
        cost = count * service.transactions * prices.get(service.name, np.nan) / 1000
        rows.append({"service": service.name, "missing": ", ".join(service.missing), "comparisons": count})
        rows[-1] |= {"minutes": count / service.per_minute, "cost": cost}
    return pd.DataFrame(rows).set_index("service")


def ask(
    services: Iterable[Service],
    asked: pd.DataFrame,
    answers: Answers,
    prices: Mapping[str, float],
    confirm: bool = False,
    progress: Progress = iter,
) -> None:
    """Send the pairs without a final answer to each service that lacks nothing, and keep what it says.

    A failure is an answer, too. After a wrong key or a spent quota a service is not asked any more; the next call
    continues. Raises NotConfirmed without ``confirm``, ValueError for a service without a price.
    """
    ready = [service for service in services if not service.missing]
    if not confirm:
        raise NotConfirmed("nothing was sent: confirm that these photos may go to these services")
    if unknown := [service.name for service in ready if service.name not in prices]:
        raise ValueError(f"{unknown[0]} has no price: give that of 1000 transactions in prices, 0 for a free tier")
    for service in ready:
        for first, second in progress(_open(service, asked, answers)):
            answer = _asked(service, first, second)
            answers.keep(answer)
            if answer.outcome in (WRONG_KEY, QUOTA):
                break
            time.sleep(60 / service.per_minute)


def _open(service: Service, asked: pd.DataFrame, answers: Answers) -> list[tuple[Picture, Picture]]:
    """The pairs, each once, without a final answer."""
    pairs = dict.fromkeys(zip(asked["first"], asked["second"]))
    return [pair for pair in pairs if (known := answers.find(service, *pair)) is None or known.outcome not in FINAL]


def _asked(service: Service, first: Picture, second: Picture) -> Answer:
    """One comparison; what may pass, a rate limit or a time-out, is tried again."""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        about = (service.name, first.sha256, second.sha256, now)
        try:
            score = service.compare(first.png, second.png)
            return Answer(*about, ANSWERED, score.value, dict(score.thresholds))
        except Failure as problem:
            answer = Answer(*about, problem.outcome, code=problem.code)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # an answer of another shape than documented
            answer = Answer(*about, REFUSED, code=f"unknown answer {type(error).__name__}")
        if answer.outcome not in (QUOTA, TIME_OUT):
            break
    return answer


# ---------------------------------------------------------------- rows


def outcomes(services: Iterable[Service], asked: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """How many pairs ended how: a row for each service, outcome and code, with the date of the last."""
    found = _stored(services, asked, answers).drop_duplicates(["service", "first", "second"])
    kinds = found.groupby(["service", "outcome", "code"], sort=False)["asked"]
    return kinds.agg(pairs="size", last="max").reset_index()


def success_table(services: Iterable[Service], asked: pd.DataFrame, answers: Answers, **facts: Facts) -> pd.DataFrame:
    """Result rows of every method on every service: impersonation, dodging, and the mean scores on its own scale.

    A rate counts at the service's lowest threshold, which recognises most faces. A photo without a face counts as
    neither accepted as the target nor hidden; a failed call does not count. The note has the dates of the answers.
    """
    found, rows = _stored(services, asked, answers), []
    kinds = asked[["method", "metric"]].drop_duplicates()
    for service in found["service"].unique():
        for method, metric in kinds.itertuples(index=False):
            part = found[(found["service"] == service) & (found["method"] == method) & (found["metric"] == metric)]
            counted = part[part["outcome"].isin(FINAL)]
            days = sorted(moment[:10] for moment in counted["asked"])
            note = f"asked {days[0]} to {days[-1]}, held out" if days else "no answer yet"
            own = {"method": method, "recogniser": service, "note": note}
            rows += _rows(metric, counted, **own, **provenance(), **facts)
    return results.frame(rows)


def _rows(metric: str, counted: pd.DataFrame, **facts: Facts) -> list[Row]:
    """The rate, and the mean score of the photos with a face."""
    hits, n = int((counted["same"] == (metric == "impersonation")).sum()), len(counted)
    scores, fars = counted["score"].dropna().to_numpy(float), counted["far"].dropna()
    far = float(fars.iloc[0]) if len(fars) else None
    measured = [
        (metric, hits / n if n else np.nan, n, wilson(hits, n)),
        (f"score, {metric}", scores.mean() if len(scores) else np.nan, len(scores), mean_interval(scores)),
    ]
    return [
        Row(metric=name, value=value, n=count, far=far, ci_low=low, ci_high=high, **facts)
        for name, value, count, (low, high) in measured
    ]


def _stored(services: Iterable[Service], asked: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """The stored answers to the questions, of each service that has any."""
    rows = [
        {"method": row.method, "metric": row.metric, **asdict(answer), "same": answer.same, "far": answer.far}
        for service in services
        for row in asked.itertuples()
        if (answer := answers.find(service, row.first, row.second))
    ]
    names = ["method", "metric", *(each.name for each in fields(Answer)), "same", "far"]
    return pd.DataFrame(rows, columns=names)
