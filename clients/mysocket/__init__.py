"""``mysocket``: starts the product on one machine as separate processes and watches them."""
