"""Materials: from mass density to the potential that electrons scatter from.

Mean inner potential of matter: V = h^2 / (2 pi m e) x sum of f(0) / volume = 47.878 V A^2 x sum of f(0) / volume, with
electron scattering factors f(0) in A: H 0.529, C 2.509, N 2.211, O 1.983, S 5.161, Au 10.57 (Doyle and Turner 1968).

- Ice of 0.93 g/cm^3: 3.041 A a molecule of 18.015 Da, 0.560 Da/A^3: 4.53 V, the value of SHREC 2021.
- Protein, by its mean residue C4.9 H7.7 N1.36 O1.48 S0.04 (110.6 Da): 0.2036 A / Da, hence 9.75 V per Da/A^3.
- Gold of 19.3 g/cm^3: 29.8 V, beyond ice 25.3 V.
- Membrane leaflets: 3 V beyond ice, a choice between lipid heads (3 to 4 V) and tails (2 V).
- Absorption: V_ab = 1 / (2 sigma mean free path); 0.208 V of ice is 3690 A at 300 kV. Protein, whose inelastic cross
  section a dalton is about that of ice, has 0.093 V beyond ice at 0.81 Da/A^3, 2.7 % of its potential there; gold has
  3.1 %. One ratio, 2.8 %, serves all.

SHREC 2020 has units of its own, electrons per A^3: protein has 0.535 electrons a dalton, ice the printed 0.15.
"""

import numpy as np

from picker_training.simulator.microscope import electron_wavelength

PROTEIN_VOLUME = 1.212
"""Ice that a dalton of protein displaces, A^3 (0.73 cm^3/g)."""

ICE_VOLT = 4.530
ICE_ABSORPTION_VOLT = 0.208
PROTEIN_VOLT_PER_DENSITY = 9.75
CONTRAST_VOLT_PER_DENSITY = PROTEIN_VOLT_PER_DENSITY - PROTEIN_VOLUME * ICE_VOLT
"""Potential of protein beyond that of the ice it displaces: 4.26 V per Da/A^3."""

INELASTIC_RATIO = 0.028

ICE_ELECTRON_DENSITY = 0.15
CONTRAST_ELECTRONS_PER_DALTON = 0.535 - PROTEIN_VOLUME * ICE_ELECTRON_DENSITY
"""Electrons of protein beyond those of the ice it displaces: 0.353 a dalton."""


def interaction_constant(voltage_kv: float) -> float:
    """Return the phase per potential and path, rad / (V A), 6.526e-4 at 300 kV (Kirkland 2010, equation 5.6).

    2 pi / (lambda U) x (m c^2 + e U) / (2 m c^2 + e U), with the rest energy of 510.999 keV.
    """
    wavelength = electron_wavelength(voltage_kv)
    return float(2.0 * np.pi / (wavelength * voltage_kv * 1e3) * (510.999 + voltage_kv) / (1021.998 + voltage_kv))
