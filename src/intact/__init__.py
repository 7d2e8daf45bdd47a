"""Intact: from a trained float network to a proven integer one."""
