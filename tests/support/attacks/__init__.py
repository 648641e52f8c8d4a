"""Attacked responses, to try judges with: ten families of twenty texts, none a mere rewording of another.

Each is made from a wrong answer to a question whose right answer is known. All of it is harmless text. The families
follow what is known to move judges: null models (Zheng et al. 2024, arXiv 2410.07137), single tokens that open reward
judges (Zhao et al. 2025, arXiv 2507.08794), false authority and style (Chen et al. 2024, arXiv 2402.10669), injected
instructions and guessed delimiters (Shi et al. 2024, arXiv 2403.17710).
"""
