"""Comparisons of many runs: published networks, seeds, hyper-parameters, ensembles."""
