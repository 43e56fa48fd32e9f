"""`hardrank recommend BUNDLE --user ID` or `--history TITLE TITLE`"""

from pathlib import Path

import typer

from hardrank.errors import ConfigError

__all__ = ["recommend"]


def recommend(
    bundle: Path = typer.Argument(help="A bundle folder."),
    titles: list[str] = typer.Argument(None, help="Further items of the history."),
    user: str = typer.Option(None, "--user", "-u", help="Id of a user of the bundle's log."),
    history: str = typer.Option(
        None, "--history", "-h", help="Item ids or exact titles, oldest first."
    ),
    k: int = typer.Option(10, "--top", "-k", min=1, help="How many items."),
    as_json: bool = typer.Option(False, "--json", help="JSON lines instead of a table."),
) -> None:
    """The best unseen items for a user, or for anyone with this history."""
    from hardrank.bundle import load_bundle

    past = ([history] if history is not None else []) + list(titles or [])
    if (user is None) == (not past):
        raise ConfigError("recommend", ["give either --user ID or --history ITEM [ITEM ...]"])
    loaded = load_bundle(bundle)
    found = loaded.recommend(user, k) if user is not None else loaded.recommend_after(past, k)
    if as_json:
        print(found.select("item_id", "title", "score").write_ndjson(), end="")
        return
    if loaded.about.get("synthetic"):
        print("(synthetic data)")
    for rank, row in enumerate(found.iter_rows(named=True), 1):
        print(f"{rank:3d}  {row['score']:8.3f}  {row['item_id']:>10}  {row['title']}")
