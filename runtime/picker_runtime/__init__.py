"""picker's runtime: finds particles in cryo-electron tomograms, without PyTorch."""
