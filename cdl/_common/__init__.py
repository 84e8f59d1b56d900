"""What every room uses: checks of arguments, errors, names, the clock."""
