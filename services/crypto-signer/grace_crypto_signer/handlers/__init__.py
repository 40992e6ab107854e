"""What the crypto-signer does on its own account: notarise all, certify and revoke keys."""
