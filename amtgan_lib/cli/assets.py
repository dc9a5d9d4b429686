"""The command line of the assets: list, fetch, verify, import."""

import json as json_format
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from amtgan_lib.assets import archive, store
from amtgan_lib.assets.catalogue import Asset, UnknownAsset, find, get, groups, table
from amtgan_lib.cli import PROGRAM
from amtgan_lib.cli.arguments import Flag, arg, must_exist

Group = Annotated[str | None, arg("GROUP", help="only this group of assets.")]


def list_assets(group: Group = None, json: Flag = False) -> None:
    """List the groups of assets with their size and licence, and how many files are on this machine.

    Args:
        json: print JSON instead of a table.
    """
    names = groups() if group is None else (group,)
    rows = [_summary(name) for name in names]
    if json:
        print(json_format.dumps({"groups": rows, "published": archive.published()}, indent=2))
        return
    print(f"{'group':<24}{'files':>6}{'MB':>8}{'at hand':>9}  licence")
    for row in rows:
        size, licences = row["bytes"] / 1e6, "; ".join(row["licences"])
        print(f"{row['group']:<24}{row['files']:>6}{size:>8.1f}{row['at_hand']:>9}  {licences}")
    if group is not None:
        return
    print(f"names: {', '.join(asset.name for asset in table() if asset.name)}")
    print(f"published weights imported: {', '.join(archive.published()) or 'none'}")


def _summary(group: str) -> dict:
    assets = find(group=group)
    return {
        "group": group,
        "files": len(assets),
        "bytes": sum(asset.bytes for asset in assets),
        "at_hand": sum(store.local(asset) is not None for asset in assets),
        "unpinned": sum(not asset.pinned for asset in assets),
        "licences": sorted({asset.licence for asset in assets}),
    }


def fetch(
    names: Annotated[tyro.conf.Positional[tuple[str, ...]], arg("[NAME ...]")] = (),
    group: Group = None,
    everything: Annotated[tyro.conf.FlagCreatePairsOff[bool], arg(name="all")] = False,
) -> None:
    """Fetch assets, verify them, and print the path of each file.

    Args:
        names: names of assets, such as edgeface_xs.
        everything: all assets.
    """
    wanted = _chosen(names, group, everything)
    for path in store.fetch_many(wanted):
        print(path)


def _chosen(names: Sequence[str], group: str | None, everything: bool) -> list[Asset]:
    wanted = [get(name) for name in names] + (find(group=group) if group is not None else [])
    if everything:
        return list(table())
    if not wanted:
        raise UnknownAsset("Nothing to fetch: give names of assets, --group GROUP or --all.")
    return wanted


def verify(group: Group = None) -> int:
    """Compare the hash of every file on this machine with the table; exit status 1 if one differs."""
    right, wrong = store.verify(group)
    for complaint in wrong:
        print(complaint)
    print(f"{right} files on this machine are correct, {len(wrong)} are wrong.")
    return 1 if wrong else 0


def import_files(source: tyro.conf.Positional[Path]) -> None:
    """Import files from a zip, a folder or a file: the authors' assets.zip, or makeup photos of MT or LADN.

    Args:
        source: the zip, folder or file.
    """
    must_exist(source)
    folders = Counter()
    for stored in archive.import_archive(source):
        if stored.name.startswith("imported/"):
            folders[stored.name.rpartition("/")[0].replace("/archive", "")] += 1
            continue
        kind = "pinned" if stored.pinned else "unpinned: nobody published its hash"
        print(f"{stored.name}  sha256 {stored.sha256}  ({kind})")
    for folder, count in folders.items():
        print(f"{folder}: {count} files  (unpinned: nobody published their hashes)")
    if folders:
        print(f"to use them: {PROGRAM} pipeline --preset open-small -p world=imported -p prepared=imported")


COMMANDS = {"list": list_assets, "fetch": fetch, "verify": verify, "import": import_files}
