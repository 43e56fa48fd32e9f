"""Two at once: retrainings to one folder, promotions to one store (S3-21)."""

import signal
import subprocess
import sys

import pytest
from tests.experiment.test_retrain import Shop, shop  # noqa: F401  (a fixture)

from hardrank.bundle import load_bundle
from hardrank.context import RunContext
from hardrank.errors import ConfigError
from hardrank.experiment import retrain_promote
from hardrank.experiment.retrain import retrain, work_folder
from hardrank.experiment.retrain_promote import Refused, promote_bundle
from hardrank.experiment.retrain_spec import Retraining
from hardrank.experiment.retrain_work import alone
from hardrank.files import digest_file
from hardrank.models import ItemKnn
from hardrank.serve.lifecycle import Floors

LOOSE = Floors(quality_loss=1.0, quality_worst=1.0, exposure_factor=0)
HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_two_retrainings_do_not_share_a_folder(
    shop: Shop,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second is told in plain words while the first trains; the first ends well."""
    real, told = ItemKnn.fit, list[str]()

    def meanwhile(*arguments: object, **options: object) -> object:
        if not told:
            with pytest.raises(ConfigError, match="another retraining is writing to") as error:
                shop.retrain(floors=LOOSE)
            told.append(str(error.value))
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ItemKnn, "fit", meanwhile)
    done = shop.retrain(floors=LOOSE)
    assert len(told) == 1 and load_bundle(done.bundle)
    with alone(shop.folder / "bundles" / "third"):  # another name is another folder
        pass


def test_a_killed_one_leaves_no_lock(shop: Shop) -> None:  # noqa: F811
    out = shop.folder / "bundles" / "second"
    work = work_folder(out)
    work.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(work / ".lock")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another retraining"), alone(out):
            pytest.fail("two at once")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with alone(out) as given:
        assert given == work and (work / ".lock").exists()


def test_who_waited_for_the_lock_does_not_write_over_what_ended(shop: Shop) -> None:  # noqa: F811
    shop.retrain(floors=LOOSE)
    spec = Retraining(champion=str(shop.first), floors=LOOSE)
    with pytest.raises(ConfigError, match="is there already"):
        retrain(spec, shop.folder / "bundles" / "second", shop.store, RunContext())


def test_of_two_promotions_at_once_one_is_refused(
    shop: Shop,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both were decided for against the same live bundle; the other one goes live between this
    one's look and its writing. Nothing of this one is in the audit log, forced or not."""
    one, two = shop.retrain("one", floors=LOOSE), shop.retrain("two", floors=LOOSE, seed=1)
    first = digest_file(shop.first / "SHA256SUMS")
    shop.store.promote(first, who="t")
    real = retrain_promote._against

    def between(*arguments: object) -> str | None:
        why = real(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(retrain_promote, "_against", real)
        assert promote_bundle(one.bundle, shop.store, who="other") == one.digest
        return why

    for force in (None, "it was agreed on"):
        monkeypatch.setattr(retrain_promote, "_against", between)
        with pytest.raises(Refused, match=f"went live meanwhile: {one.digest[:12]}"):
            promote_bundle(two.bundle, shop.store, who="t", force=force)
        assert shop.store.bundles() == (one.digest, first)
        log = [(row.who, row.action, row.subject) for row in shop.store.audit_log()]
        assert ("t", "promote", two.digest) not in log
        assert not [row for row in log if row[1] == "promote-forced"]
        shop.store.rollback(who="t")
