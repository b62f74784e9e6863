//! `token`.

use std::error::Error;
use std::io::Write;

use crate::access::Token;

pub(super) fn token(name: &str, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let token = Token::random();
    let hash = token.hash();
    writeln!(out, "{}", token.secret())?;
    writeln!(out, "{hash}")?;
    writeln!(
        out,
        "# access file: identities.{name:?}.tokens = [\"{hash}\"]"
    )?;
    Ok(())
}
