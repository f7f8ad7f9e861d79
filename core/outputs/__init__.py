"""Result files: checked beforehand, written whole or not at all, read back."""
