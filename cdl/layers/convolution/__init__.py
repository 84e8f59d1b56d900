"""Convolution layers: learned kernels over windows of sequences, images and volumes."""
