from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from training.phantoms import CLASSES, PROTEIN_DENSITY, ball, dumbbell, ring

from picker_runtime.errors import UsageError
from picker_runtime.mrc import write_mrc
from picker_training.simulator.atoms import HYDROGEN_FACTOR, read_atoms
from picker_training.simulator.templates import (
    GRID_ANGSTROM,
    MASSES_KDA,
    Template,
    find_template,
    load_template,
    load_templates,
    make_template,
)

CARBON_DALTON = 12.011
ATOM_SPACING = 2.5  # angstrom; carbon at this spacing, with hydrogen, has protein's density
ATOM = "ATOM  {serial:>5}  C   GLY A{residue:>4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C\n"
TWO_COPIES = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2  1.000000  0.000000  0.000000       60.00000
REMARK 350   BIOMT2   2  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000
"""


def write_ball_of_atoms(path: Path, radius: float, *, remarks: str = "") -> int:
    """Write a PDB file of carbon atoms on a lattice; return their number."""
    axis = np.arange(-radius, radius + 1e-6, ATOM_SPACING)
    points = np.array(list(product(axis, axis, axis)))
    points = points[np.linalg.norm(points, axis=1) <= radius]
    atoms = (ATOM.format(serial=i + 1, residue=i % 9999, x=x, y=y, z=z) for i, (x, y, z) in enumerate(points))
    path.write_text(remarks + "".join(atoms) + "END\n")
    return len(points)


def assert_centred(template: Template) -> None:
    centre = np.array(template.density.shape) // 2
    assert template.density.shape[0] % 2 == 1
    assert np.abs(np.array(ndimage.center_of_mass(template.density)) - centre).max() < 0.02


@pytest.mark.parametrize("number", range(3))
def test_a_map_comes_out_centred_and_of_its_name_s_mass(phantoms: list[Template], number: int) -> None:
    assert_centred(phantoms[number])
    assert phantoms[number].mass_kda == pytest.approx(MASSES_KDA[CLASSES[number]], rel=0.01)


@pytest.mark.parametrize("shape", [(33, 24, 41), (32, 33, 34)])
def test_the_centre_of_mass_does_not_depend_on_the_box(shape: tuple[int, int, int]) -> None:
    density = np.zeros(shape, np.float32)
    density[9:17, 4:13, 6:20] = PROTEIN_DENSITY
    density[12:15, 13:16, 20:22] = PROTEIN_DENSITY
    assert_centred(make_template("box", density, GRID_ANGSTROM, blur_angstrom=2.0))


def test_a_coarser_map_of_the_same_ball_gives_the_same_template() -> None:
    fine, coarse = (make_template("ball", ball(40.0, voxel_size=a), a, blur_angstrom=0.4 * a) for a in (5.0, 10.0))
    assert coarse.mass_kda == pytest.approx(fine.mass_kda, rel=0.05)
    assert coarse.diameter_angstrom == pytest.approx(fine.diameter_angstrom, rel=0.05)
    assert fine.mass_kda == pytest.approx(4 / 3 * np.pi * 40.0**3 * PROTEIN_DENSITY / 1000, rel=0.02)


def test_mask_diameter_and_radius_are_those_of_the_ball() -> None:
    template = make_template("ball", ball(60.0), GRID_ANGSTROM, blur_angstrom=2.0)
    assert template.diameter_angstrom == pytest.approx(125.0, abs=3.0)  # the mask's density lies outside the edge
    volume = np.count_nonzero(template.mask) * GRID_ANGSTROM**3
    assert np.pi / 6 * template.diameter_angstrom**3 == pytest.approx(volume)
    assert template.radius_angstrom == pytest.approx(60.0, abs=6.0)


@pytest.mark.parametrize("tube", [15.0, 30.0, 45.0])
def test_the_centre_voxel_of_a_ring_belongs_to_it(tube: float) -> None:
    template = make_template("ring", ring(tube), GRID_ANGSTROM, blur_angstrom=2.0)
    assert template.mask[(template.mask.shape[0] // 2,) * 3] == 1.0


def test_a_hollow_shell_is_filled() -> None:
    shell = ball(60.0)
    inner = ball(35.0)
    margin = (shell.shape[0] - inner.shape[0]) // 2
    shell -= np.pad(inner, margin)
    template = make_template("shell", shell, GRID_ANGSTROM, blur_angstrom=2.0)
    assert template.diameter_angstrom == pytest.approx(120.0, abs=6.0)


def test_a_dumbbell_is_longer_than_its_diameter() -> None:
    template = make_template("dumbbell", dumbbell(25.0), GRID_ANGSTROM, blur_angstrom=2.0)
    assert template.radius_angstrom == pytest.approx(50.0, abs=6.0)
    assert template.diameter_angstrom < 75.0


def test_an_atomic_model_and_a_map_of_the_same_ball_agree(tmp_path: Path) -> None:
    write_ball_of_atoms(tmp_path / "9abc.pdb", 30.0)
    (tmp_path / "assembly_5A").mkdir()
    write_mrc(tmp_path / "assembly_5A/9xyz.mrc", ball(30.0), GRID_ANGSTROM)
    model, density = load_templates(tmp_path, ("9abc", "9xyz"))
    assert_centred(model)
    assert model.mass_kda == pytest.approx(density.mass_kda, rel=0.05)
    assert model.diameter_angstrom == pytest.approx(density.diameter_angstrom, abs=5.0)


def test_a_mass_beside_a_map_counts_whatever_its_grey_scale(tmp_path: Path) -> None:
    write_mrc(tmp_path / "9abc.mrc", 77.0 * ball(30.0), GRID_ANGSTROM)
    (tmp_path / "masses.toml").write_text("9abc = 123.5\n")
    assert load_template(tmp_path / "9abc.mrc", "9abc").mass_kda == pytest.approx(123.5, rel=0.01)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (None, r"9abc\.mrc: the mass of 9abc is not known.*write `9abc = MASS`"),
        ("9xyz = 3", "the mass of 9abc is not known"), ("9abc = 0", "mass of 9abc is 0"),
        ("9abc = 'much'", "mass of 9abc is 'much'"), ("9abc", "not a readable TOML file"),
    ],
)  # fmt: skip
def test_a_map_of_unknown_mass_is_refused(stated: str | None, words: str, tmp_path: Path) -> None:
    write_mrc(tmp_path / "9abc.mrc", ball(30.0), GRID_ANGSTROM)
    if stated is not None:
        (tmp_path / "masses.toml").write_text(stated)
    with pytest.raises(UsageError, match=f"E84 .*{words}"):
        load_template(tmp_path / "9abc.mrc", "9abc")


def test_a_map_without_voxel_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{CLASSES[0]}.mrc"
    write_mrc(path, ball(30.0), GRID_ANGSTROM)
    content = bytearray(path.read_bytes())
    content[40:52] = bytes(12)  # the cell
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"E84 .*voxel size 0 A in the header"):
        load_template(path, CLASSES[0])


def test_mass_counts_the_hydrogens_that_a_model_lacks(tmp_path: Path) -> None:
    count = write_ball_of_atoms(tmp_path / "9abc.pdb", 15.0)
    _, masses = read_atoms(tmp_path / "9abc.pdb")
    assert masses.sum() == pytest.approx(count * CARBON_DALTON * HYDROGEN_FACTOR, rel=1e-3)
    assert load_template(tmp_path / "9abc.pdb", "9abc").mass_kda * 1000 == pytest.approx(masses.sum(), rel=0.02)


def test_the_biological_assembly_is_applied(tmp_path: Path) -> None:
    count = write_ball_of_atoms(tmp_path / "one.pdb", 20.0)
    write_ball_of_atoms(tmp_path / "two.pdb", 20.0, remarks=TWO_COPIES)
    one, two = (load_template(tmp_path / f"{name}.pdb", name) for name in ("one", "two"))
    positions, _ = read_atoms(tmp_path / "two.pdb")
    assert len(positions) == 2 * count
    assert np.ptp(positions, axis=0) == pytest.approx([40.0, 40.0, 100.0])  # zyx: the copy lies along x
    assert two.mass_kda == pytest.approx(2 * one.mass_kda, rel=0.01)
    assert_centred(two)


def test_water_is_no_part_of_a_particle(tmp_path: Path) -> None:
    count = write_ball_of_atoms(tmp_path / "9abc.pdb", 10.0)
    water = "HETATM99999  O   HOH A9999      50.000   0.000   0.000  1.00  0.00           O\n"
    text = (tmp_path / "9abc.pdb").read_text().replace("END\n", water + "END\n")
    (tmp_path / "9abc.pdb").write_text(text)
    positions, _ = read_atoms(tmp_path / "9abc.pdb")
    assert len(positions) == count


def test_assemblies_come_before_other_maps_and_fine_grids_before_coarse_ones(tmp_path: Path) -> None:
    small = ball(15.0)
    for folder, voxel_size in (("mrc_5A", 5.0), ("assembly_10A", 10.0), ("assembly_5A", 5.0)):
        (tmp_path / folder).mkdir()
        write_mrc(tmp_path / folder / "9abc.mrc", small, voxel_size)
    (tmp_path / "9abc.pdb").touch()
    for best in ("assembly_5A/9abc.mrc", "assembly_10A/9abc.mrc", "mrc_5A/9abc.mrc", "9abc.pdb"):
        assert find_template(tmp_path, "9abc") == tmp_path / best
        (tmp_path / best).unlink()


def test_a_name_may_go_on_after_an_underscore_only(tmp_path: Path) -> None:
    write_mrc(tmp_path / "9abcd.mrc", ball(15.0), 5.0)
    with pytest.raises(UsageError, match="no template for '9abc'"):
        find_template(tmp_path, "9abc")
    write_mrc(tmp_path / "9abc_cut.mrc", ball(15.0), 5.0)
    assert find_template(tmp_path, "9abc").name == "9abc_cut.mrc"


def test_names_of_files_may_be_in_upper_case(tmp_path: Path) -> None:
    for name in ("1BXN.cif", "4CR2_fitted.pdb"):
        (tmp_path / name).touch()
    assert find_template(tmp_path, "1bxn") == find_template(tmp_path, "1BXN") == tmp_path / "1BXN.cif"
    assert find_template(tmp_path, "4cr2") == tmp_path / "4CR2_fitted.pdb"


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    (tmp_path / "9abc.txt").write_text("no map")
    with pytest.raises(UsageError, match="'9abc'") as caught:
        load_templates(tmp_path, ("9abc",))
    assert caught.value.code == 84
