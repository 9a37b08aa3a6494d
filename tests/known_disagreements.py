"""Where the public libraries' gradient strategies are known to differ from ours, and why: every disagreement that the tests allow.

Ours are compared with the papers' formulas in `gram_formulas.py`; where a library differs from those the formula is right.
"""

REGULARISED = "adds 1e-4 to the Gram matrix"
SOLVER = "a numerical solver's tolerance"
UNFINISHED = "20 steps of projected SGD with momentum are not the optimum"

# By library and method: the golden cases in which the update is not the formula's, the reason.
OF_GRAM_MATRICES: dict[tuple[str, str], tuple[set[int], str]] = {
    ("torchjd", "UPGrad"): ({5, 8, 13}, REGULARISED),
    ("LibMTL", "UPGrad"): ({5, 8, 13}, REGULARISED),
    ("torchjd", "DualProj"): ({8, 13}, REGULARISED),
    ("torchjd", "CAGrad"): ({2, 19}, SOLVER + "; no update where g_x is zero"),
    ("LibMTL", "CAGrad"): ({2, 5}, SOLVER),
    ("torchjd", "IMTL-G"): ({16}, "a pseudo-inverse, which for parallel gradients weighs the longer more"),
    ("LibMTL", "IMTL-G"): ({16}, "solves a singular system for parallel gradients"),
    ("closed_form", "IMTL-G"): ({19}, "no update, where here a zero gradient is no task"),
    ("torchjd", "Nash-MTL"): ({10, 13, 19}, SOLVER + "; length sqrt(2), where here a single task's is 1"),
    ("LibMTL", "Nash-MTL"): ({10, 13, 19}, SOLVER + "; as TorchJD"),
    ("LibMTL", "MGDA"): ({4, 10, 16, 19}, "clips the weights to [0.001, 0.999]"),
    ("torchjd", "SDMGrad"): ({0, 2, 5, 13, 14}, UNFINISHED),
    ("LibMTL", "SDMGrad"): ({0, 2, 5, 13, 14}, UNFINISHED),
}

# By library and method: what differs in every case; the tests put it in and then agree.
OF_GRADIENTS = {
    ("torchjd", "ExcessMTL"): "its first weights are softmax(e), where ours and LibMTL's are equal",
    ("LibMTL", "MoCo"): "softmax instead of the projection, and unit gradients times losses",
}
