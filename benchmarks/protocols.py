"""Pin a protocol: who is in the test, by the rules of ``datasets``, and today's recognisers.

.venv/bin/python -m benchmarks.protocols drawn

It writes data/protocols/NAME.json. Leaderboard entries belong to one state of that file: score all of them again.
"""

import argparse
from types import SimpleNamespace

import pandas as pd

from amtgan_lib import assets, datasets, recognizers
from amtgan_lib.datasets import drawn, protocol
from amtgan_lib.datasets.protocol import PHOTO_COLUMNS, Pinned, Protocol

# World -> the set of the groups' targets (the paper's four, or as many drawn people), and the judges.
WORLDS = {
    "drawn": ("drawn_target", recognizers.DRAWN),
    "open": ("celeba_hq_target", (*recognizers.OPEN, "dlib")),
}


def made(name: str) -> Protocol:
    """The protocol of a world, of all test people at hand."""
    group_targets, judging = WORLDS[name]
    manifest = datasets.manifest_of(name)
    target = datasets.default_target(SimpleNamespace(manifest=manifest))
    groups = sorted(manifest.loc[manifest["set"] == group_targets, "person"].unique())
    targets = list(dict.fromkeys([target, *groups]))
    rows = [*_sources(manifest, groups), *_known(manifest, targets)]
    rows += [_row(person, "target", *_of(manifest, person, ("source", "target"))) for person in targets]
    networks = map(recognizers.load, judging)
    judges = {network.name: Pinned(network.weights_sha256, network.thresholds) for network in networks}
    return Protocol(name, "", target, judges, _with_contents(pd.DataFrame(rows)))


def _sources(manifest: pd.DataFrame, groups: list[str]) -> list[dict]:
    """The photos to protect with their share and its target, and the references that they borrow from."""
    shares = {person: datasets.test_pairs(manifest, target=person, pairing="groups") for person in groups}
    share = {probe: number for number, pairs in enumerate(shares.values(), 1) for probe in pairs["probe"]}
    pairs = datasets.test_pairs(manifest)
    worn = manifest.set_index("asset")["person"]
    rows = [
        {"id": pair.probe, "person": pair.person, "role": "source", "asset": pair.source, "group": share[pair.probe]}
        | {"reference": _file(worn[pair.reference]), "target": groups[share[pair.probe] - 1]}
        for pair in pairs.itertuples()
    ]
    references = pairs["reference"].drop_duplicates()
    return rows + [_row(worn[asset], "reference", asset) for asset in references]


def _known(manifest: pd.DataFrame, targets: list[str]) -> list[dict]:
    """What judges know: the other photo of everybody, of the test or not, and that of the targets."""
    people = datasets.world_of(manifest).people
    others = manifest[(manifest["set"] == people) & (manifest["part"] == "other")]
    rows = [_row(row.person, "other", row.asset, ".other.png") for row in others.itertuples()]
    for target in targets:
        (photo,) = _of(manifest, target, ("other", "target_metric"))
        rows.append(_row(target, "other", photo, ".other.png"))
    return rows


def _of(manifest: pd.DataFrame, person: str, parts: tuple[str, ...]) -> list[str]:
    return manifest.loc[(manifest["person"] == person) & manifest["part"].isin(parts), "asset"].tolist()


def _file(person: str, end: str = ".png") -> str:
    return person.replace("/", "-") + end


def _row(person: str, role: str, asset: str, end: str = ".png") -> dict:
    return {"id": _file(person, end), "person": person, "role": role, "asset": asset}


def _with_contents(photos: pd.DataFrame) -> pd.DataFrame:
    """The photos with what their files hold: a hash, or the colours of those that are drawn."""
    hashes = {asset.relative: asset.sha256 for asset in assets.table()}
    at_hand = datasets.files(photos["asset"])
    is_drawn = [drawn.is_drawn(asset) for asset in photos["asset"]]
    colours = [protocol.colours(at_hand[asset]) if own else "" for asset, own in zip(photos["asset"], is_drawn)]
    photos = photos.assign(sha256=[hashes.get(asset, "") for asset in photos["asset"]], colours=colours)
    texts = photos.drop(columns="group").fillna("")
    return texts.assign(group=photos["group"].fillna(0).astype(int))[PHOTO_COLUMNS]


def main() -> None:
    """Write the protocol that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=WORLDS)
    print(protocol.store(made(parser.parse_args().name)))


if __name__ == "__main__":
    main()
