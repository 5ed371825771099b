"""Studies over many runs: published networks, seeds, hyper-parameters, ensembles."""
