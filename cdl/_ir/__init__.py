"""Programs: instructions, the rules that make them faster, bytecode of elementwise maps."""
