"""The simulator: templates, specimen, microscope, reconstruction, and whole scenes with their truth.

Data flow: templates -> specimen (density with truth) -> microscope (tilt images) -> reconstruction (tomogram).
"""
