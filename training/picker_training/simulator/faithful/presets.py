"""The faithful presets: SHREC 2020 in both readings of its noise, and SHREC 2021."""

from dataclasses import replace

from picker_training.simulator.faithful.materials import (
    CONTRAST_ELECTRONS_PER_DALTON,
    CONTRAST_VOLT_PER_DENSITY,
    ICE_ABSORPTION_VOLT,
    ICE_ELECTRON_DENSITY,
    ICE_VOLT,
    INELASTIC_RATIO,
)
from picker_training.simulator.faithful.parameters import (
    SHREC2020_CLASS_NUMBERS,
    SHREC2021_CLASS_NUMBERS,
    Shrec2020Parameters,
    Shrec2021Parameters,
    ShrecParameters,
    even_tilts,
)
from picker_training.simulator.presets import SHREC2020_SNR

SHREC2020 = Shrec2020Parameters(
    classes=tuple(SHREC2020_CLASS_NUMBERS),
    class_numbers=SHREC2020_CLASS_NUMBERS,
    particles=(2400, 2800),
    depth=200,
    sampling_angstrom=10.0,
    tilts_degree=even_tilts(40),
    defocus_um=(3.0, 3.0),
    contrast_volt_per_density=CONTRAST_ELECTRONS_PER_DALTON,
    ice_volt=ICE_ELECTRON_DENSITY,
    ice_noise_volt=0.01,
    absorption_ratio=0.08026,
    ice_absorption_volt=0.08026 * ICE_ELECTRON_DENSITY,
    snr=SHREC2020_SNR,  # as printed, 0.004 in the projections, nothing could be found: docs/simulator.md
)

SHREC2021 = Shrec2021Parameters(
    classes=tuple(name for name in SHREC2021_CLASS_NUMBERS if name not in ("4v94", "vesicle", "fiducial")),
    class_numbers=SHREC2021_CLASS_NUMBERS,
    particles=(1000, 3000),
    depth=180,
    sampling_angstrom=5.0,
    tilts_degree=even_tilts(61),
    defocus_um=(2.0, 5.0),
    contrast_volt_per_density=CONTRAST_VOLT_PER_DENSITY,
    ice_volt=ICE_VOLT,
    absorption_ratio=INELASTIC_RATIO,
    ice_absorption_volt=ICE_ABSORPTION_VOLT,
)

FAITHFUL_PRESETS: dict[str, ShrecParameters] = {
    "shrec2020": SHREC2020,
    "shrec2020-white": replace(SHREC2020, noise_recipe="white"),
    "shrec2021": SHREC2021,
}
"""`shrec2020` has the noise of the public predecessor, `shrec2020-white` plain white noise on the projections."""
