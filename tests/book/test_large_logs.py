"""The recipes for large logs in book/api.md, run; and ten to the eight samples on a cluster."""

from __future__ import annotations

import re
from pathlib import Path

import dask
import dask.bag
import numpy as np
import pandas
import pytest
from distributed import Client, LocalCluster

import kltutorial as kl

PAGE = (Path(__file__).parents[2] / "book" / "api.md").read_text("utf-8")
SECTION = PAGE.split("### Large logs\n")[1].split("\n## ")[0]
RECIPES = dict(re.findall(r"```python\n# (\w+)\n(.*?)```", SECTION, flags=re.DOTALL))
CHUNK = 1_000_000


def chunk(seed):
    """Log-probabilities of draws from N(0, 1), under N(0, 1) and N(0.3, 1)."""
    x = np.random.default_rng(seed).standard_normal(CHUNK)
    return -(x**2) / 2, -((x - 0.3) ** 2) / 2


def estimate(seed):
    return kl.estimate_kl(*chunk(seed))


def numbers(estimate):
    return [estimate.mean, estimate.std, estimate.std_error, estimate.n]


@pytest.fixture(scope="module")
def cluster():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "60s"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # any port that is free
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_a_cluster_reduces_1e8_samples_to_what_one_pass_gives(cluster):
    assert len(cluster.scheduler_info()["workers"]) == 2
    seeds = range(100)
    reduced = dask.bag.from_sequence(seeds, npartitions=20).map(estimate).reduction(sum, sum)
    got = cluster.compute(reduced).result()
    whole = kl.estimate_kl_chunks(chunk(seed) for seed in seeds)
    assert got.n == 100 * CHUNK
    np.testing.assert_allclose(numbers(got), numbers(whole), rtol=1e-12)
    assert abs(got.mean - 0.3**2 / 2) < 4 * got.std_error


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A folder with one log in each format, and the estimate from all of it at once."""
    folder = tmp_path_factory.mktemp("log")
    logp, logq = chunk(0)
    np.save(folder / "logp.npy", logp)
    np.save(folder / "logq.npy", logq)

    frame = pandas.DataFrame({"logp": logp, "logq": logq})
    frame.to_csv(folder / "log.csv", index=False)
    frame.to_parquet(folder / "log.parquet", row_group_size=300_000)
    return folder, numbers(kl.estimate_kl(logp, logq))


@pytest.mark.parametrize("name", ["files", "Parquet", "pandas", "Dask"])
def test_recipe(name, log, cluster, monkeypatch):
    folder, whole = log
    monkeypatch.chdir(folder)
    names = {}
    exec(RECIPES[name], names)
    np.testing.assert_allclose(numbers(names["estimate"]), whole, rtol=1e-12)


def test_every_recipe_is_run():
    assert len(RECIPES) == SECTION.count("```python") == 4
