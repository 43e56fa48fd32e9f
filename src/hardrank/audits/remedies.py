"""What to try where a check did not pass, by the check's name. `docs/checks.md` explains them."""

__all__ = ["REMEDIES"]

_MASKED = (
    "Attack through the obstacle: straight-through gradients past rounding or look-ups, "
    "expectation over randomness, raw scores instead of squashed ones. If the attack then wins, "
    "the defence hid its gradients and was not robust."
)
_WEAK = (
    "Strengthen the attack until it stops improving: twice the steps, a step size of 2.5 x radius "
    "/ steps, five restarts with random starts, the best iterate kept; or apgd."
)

REMEDIES: dict[str, str] = {
    # quality
    "quality_floor": "Lower the weight or radius of hardening, or keep more clean loss; where the "
    "samples are too few to tell, test on more users or seeds.",
    "tells_items_apart": "The model ranks nothing, so nothing can be promoted: lower the radius, "
    "raise the clean loss, stop at a quality floor.",
    "tells_queries_apart": "Everyone gets the same list: lower the radius or weight of hardening.",
    "tells_texts_apart": "The classifier names one class: lower the radius or weight.",
    # control
    "control_arm": "Train a control from the same start with the same data, seeds, steps and a "
    "fresh optimiser, and no adversary.",
    # unseen and adaptive
    "unseen_attack": "Add a trial of a family that hardening did not train on, or leave one "
    "family out of training.",
    "adaptive_attack": "Add an attack that queries the hardened model itself, with its guards.",
    "text_confirmation": "Add a text trial: robust vectors are no evidence of robust text.",
    "targets_not_in_training_pool": "Draw fresh targets, or take the evaluation's targets and "
    "donors out of the hardening pool and train again.",
    "split_without_leaks": "Split again with one of hardrank's splitters and train again.",
    "coverage_stated": "State what was and was not attacked: an audit without its coverage "
    "matrix is not valid.",
    "several_seeds_agree": "Run three seeds or more; average weights, warm up or lower the "
    "learning rate where seeds disagree.",
    # sanity of attacks
    "stronger_attack_wins_more": _WEAK,
    "larger_radius_wins_more": _WEAK,
    "unbounded_attack_wins": _MASKED,
    "iterations_converge": _WEAK,
    "restarts_converge": _WEAK,
    "best_iterate_kept": "Keep the strongest point of the path, not the last one (keep_best).",
    "random_search_finds_nothing_more": _MASKED,
    "gradient_beats_random_directions": _MASKED,
    "white_box_beats_transfer": _MASKED,
    "transfer_beats_random": "Read the white-box check with care: what was made on the control "
    "is no better than noise here.",
    "black_box_no_better": _MASKED,
    "attack_works_undefended": "An attack that cannot move an undefended model says nothing of a "
    "defence: raise its budget or queries, mend it, or leave it out.",
    "errors_counted": "Read the reasons in samples.parquet (column error), mend the attack or the "
    "threat and run again: the rest is a selected part of the targets.",
    # sanity of the model
    "deterministic": "Attack the mean loss of 16 draws or more (expectation over randomness) and "
    "report that figure; or fix the draws.",
    "scores_deterministic": "Attack and judge the mean score of 16 draws or more (expectation "
    "over randomness); or fix the draws.",
    "gradients_finite": "Look for overflow (lower the scale of scores, use float32) and divisions.",
    "gradients_not_zero": _MASKED,
    "loss_rises_along_gradient": _MASKED,
    "zero_perturbation_is_clean": "The attacked path is not the served one: compare both, dropout "
    "off, the same candidates.",
    "scores_not_saturated": "Attack raw scores, not probabilities; divide scores by their spread "
    "before the attacker's loss, or climb the margin.",
    "learns_nothing_while_serving": "The model optimises while it serves (purification, test-time "
    "training): attack through that loop, or its gradients are not those of the service.",
}
