"""The dock: its steps, its panels and its dialogs."""
