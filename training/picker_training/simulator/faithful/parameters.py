"""Parameters of the SHREC generators: what the papers state, what the public predecessor adds, and what we chose.

Sources: "2020" is Gubins et al., SHREC 2020: classification in cryo-electron tomograms, section 2.1; "2021" is Gubins
et al., SHREC 2021: classification in cryo-electron tomograms, section 2.1; "predecessor" is the organisers' public
simulator of that time; "choice" is ours.
"""

from dataclasses import dataclass

import numpy as np

from picker_runtime.geometry import Triple
from picker_training.simulator.presets import SHREC2020_CLASSES

SHREC2021_CLASS_NUMBERS = {
    "4v94": 1, "4cr2": 2, "1qvr": 3, "1bxn": 4, "3cf3": 5, "1u6g": 6, "3d2f": 7, "2cg9": 8, "3h84": 9, "3gl1": 10,
    "3qm1": 11, "1s3x": 12, "5mrc": 13, "vesicle": 14, "fiducial": 15,
}  # fmt: skip
"""Numbers in the class masks of SHREC 2021."""

SHREC2020_CLASS_NUMBERS = {name: number for number, name in enumerate(SHREC2020_CLASSES, start=1)}
"""Numbers in the class masks of SHREC 2020."""


def even_tilts(count: int) -> tuple[float, ...]:
    """Return tilts from -60 to 60 degrees, evenly spaced (2020, 2021)."""
    return tuple(np.linspace(-60.0, 60.0, count).tolist())


@dataclass(frozen=True, kw_only=True)
class ShrecParameters:
    """What both generators have in common; lengths in voxels are voxels of the tomogram.

    classes: template names (2020, 2021). particles: fewest and most proteins in the field.
    depth, field: slices of the slab, and side of image and tomogram, in voxels (2020: 200, 512; 2021: 180, 512).
    breadth: extent of the material across the tilt axis, voxels (predecessor: 1024, the central half is kept); beyond
        it the material repeats, so that no ray at 60 degrees misses the slab (choice).
    margin: what the waves are computed for beyond each side of the field, voxels, then cut off (choice).
    voxel_size_angstrom: of the tomogram. sampling_angstrom: of the slab and of the images (2020: 10; 2021: 5).
    drawing_angstrom: particles are drawn at this and averaged over blocks (5 A maps; predecessor: block average).
    blur_angstrom: Gaussian width of the templates (choice: that of the maps at hand, 2 A; of coarser ones, their own).
    slice_angstrom: thickness of a slice of the multislice computation, 5 nm (2020, 2021).
    tilts_degree: about y. voltage_kv: 300 (2020, 2021).
    spherical_aberration_mm: 2.7 (2021; for 2020 the predecessor's default).
    defocus_um: least and greatest underfocus, one for a whole tomogram; counted from the middle of the slab (choice).
    contrast_volt_per_density: potential beyond that of the ice per mass density, V A^3 / Da (see `materials.py`).
    ice_volt: potential of ice. ice_noise_volt: deviation of its random density, per voxel of the sampling.
    absorption_ratio: imaginary over real part of the potential of particles, gold and membranes.
    ice_absorption_volt: imaginary part of the potential of ice.
    snr: of the tomogram, by scaling the detector's noise; None for the noise as the recipe has it.
    """

    classes: tuple[str, ...]
    class_numbers: dict[str, int]
    particles: tuple[int, int]
    depth: int
    field: int = 512
    breadth: int = 1024
    margin: int = 32
    voxel_size_angstrom: float = 10.0
    sampling_angstrom: float
    drawing_angstrom: float = 5.0
    blur_angstrom: float = 2.0
    slice_angstrom: float = 50.0
    tilts_degree: tuple[float, ...]
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    defocus_um: tuple[float, float]
    contrast_volt_per_density: float
    ice_volt: float
    ice_noise_volt: float = 0.0
    absorption_ratio: float
    ice_absorption_volt: float
    snr: float | None = None

    @property
    def shape(self) -> Triple:
        """Shape `(d, h, w)` of the tomogram."""
        return (self.depth, self.field, self.field)

    @property
    def binning(self) -> int:
        """How many samples of the slab lie along a voxel of the tomogram."""
        return round(self.voxel_size_angstrom / self.sampling_angstrom)

    @property
    def slab_shape(self) -> Triple:
        """Shape `(depth, height, breadth)` of the slab in samples."""
        b = self.binning
        return (self.depth * b, (self.field + 2 * self.margin) * b, self.breadth * b)

    @property
    def wave_side(self) -> int:
        """Side of the computed waves in samples: the field and a margin on each side."""
        return (self.field + 2 * self.margin) * self.binning


@dataclass(frozen=True, kw_only=True)
class Shrec2020Parameters(ShrecParameters):
    """SHREC 2020; potentials are electron densities in its own units (e / A^3, taken as volts; predecessor).

    amplitude_contrast: 8 % (2020); acts as an absorption ratio A / sqrt(1 - A^2) of everything.
    envelope: the waves decay as exp(-(k / (envelope x Nyquist))^2) (2020: 0.4, printed in 1 / A; predecessor: a
        fraction of Nyquist).
    structural_noise_volt: new noise in every voxel of the slab at each tilt, for beam damage (2020: 0.04).
    projection_snr: 0.004 (2020). noise_recipe: what it means, see `detector.py`: `predecessor` or `white`.
    noise_roll_off: width of the Gaussian flank of the background noise's low-pass over the image's side, 0.2
        (predecessor).
    noise_pass_band: radius over Nyquist below which that low-pass leaves the noise alone (choice: 1).
    """

    amplitude_contrast: float = 0.08
    envelope: float = 0.4
    structural_noise_volt: float = 0.04
    projection_snr: float = 0.004
    noise_recipe: str = "predecessor"
    noise_roll_off: float = 0.2
    noise_pass_band: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Shrec2021Parameters(ShrecParameters):
    """SHREC 2021; potentials in volts.

    gold, vesicles: fewest and most (2021). gold_diameter_angstrom: 80 to 120 (choice; gold of 10 nm is common).
    gold_volt, membrane_volt: beyond ice (see `materials.py`).
    vesicle_diameter_angstrom: 400 to 900 (choice).
    energy_spread_ev: full width at half maximum, 0.7 (2021). chromatic_aberration_mm: 2.7 (predecessor).
    illumination_aperture_mrad: 0.03, printed as 30 um (2021); the semi-angle of illumination.
    objective_diameter_um, focal_distance_mm: 100 and 4.7 (2021), a cut-off at 0.54 / A, beyond what is sampled.
    dose_per_angstrom2: least and greatest of the whole series (2021), shared evenly by the images.
    shift_angstrom: range of the random shift of each image in x and y, 1 nm (2021), uniform about 0 (choice).
    scaled_to_experiment: each ring of an image's spectrum gets the mean amplitude of an experimental one (2021).
    """

    gold: tuple[int, int] = (7, 14)
    gold_diameter_angstrom: tuple[float, float] = (80.0, 120.0)
    gold_volt: float = 25.3
    vesicles: tuple[int, int] = (2, 7)
    vesicle_diameter_angstrom: tuple[float, float] = (400.0, 900.0)
    membrane_volt: float = 3.0
    energy_spread_ev: float = 0.7
    chromatic_aberration_mm: float = 2.7
    illumination_aperture_mrad: float = 0.03
    objective_diameter_um: float = 100.0
    focal_distance_mm: float = 4.7
    dose_per_angstrom2: tuple[float, float] = (100.0, 120.0)
    shift_angstrom: float = 10.0
    scaled_to_experiment: bool = True
