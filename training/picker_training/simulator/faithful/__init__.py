"""The faithful simulator: SHREC 2020 and 2021 as their papers describe them, parameter by parameter.

Data flow: parameters -> population -> slab -> slices (tilting) -> waves (multislice, optics) -> detector -> tomogram.
"""
