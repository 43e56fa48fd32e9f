"""`hardrank recommend BUNDLE --user ID` or `--history TITLE TITLE`"""

from pathlib import Path

import typer

from hardrank.errors import ConfigError

__all__ = ["recommend"]


def recommend(
    bundle: Path = typer.Argument(help="A bundle folder, written first on the line."),
    titles: list[str] = typer.Argument(
        None, metavar="[TITLE]...", help="Further items of --history."
    ),
    user: str = typer.Option(None, "--user", "-u", help="Id of a user of the bundle's log."),
    history: str = typer.Option(
        None,
        "--history",
        metavar="TITLE [TITLE]...",
        help="Item ids or exact titles, oldest first, each in quotes.",
    ),
    k: int = typer.Option(10, "--top", "-k", min=1, help="How many items."),
    as_json: bool = typer.Option(False, "--json", help="JSON lines instead of a table."),
) -> None:
    """The best unseen items for a user, or for anyone with this history.

    Examples: hardrank recommend runs/demo/bundle --user 17 ; hardrank recommend
    runs/demo/bundle --history "first title" "second title" --top 5
    """
    from hardrank.bundle import load_bundle

    past = [history, *(titles or [])] if history is not None else []
    if (user is None) == (not past) or (titles and history is None):
        raise ConfigError(
            "recommend", ["give either --user ID or --history TITLE [TITLE ...], after the bundle"]
        )
    loaded = load_bundle(bundle)
    found = loaded.recommend(user, k) if user is not None else loaded.recommend_after(past, k)
    if as_json:
        print(found.select("item_id", "title", "score").write_ndjson(), end="")
        return
    if loaded.about.get("synthetic"):
        print("(synthetic data)")
    for rank, row in enumerate(found.iter_rows(named=True), 1):
        print(f"{rank:3d}  {row['score']:8.3f}  {row['item_id']:>10}  {row['title']}")
