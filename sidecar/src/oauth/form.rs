//! The body of an OAuth request: `application/x-www-form-urlencoded`, each parameter once.

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::OAuthError;

/// Longest body; two tokens of 16 KiB each fit, and an assertion.
pub const MAX_FORM_BYTES: usize = 64 * 1024;
/// Parameters of one request; no grant has half as many.
const MAX_PARAMETERS: usize = 64;
/// What may stand more than once: a token may be for several (RFC 8693 §2.1, RFC 8707 §2).
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// The parameters of a request. Some are secrets, so none is ever shown.
#[derive(Clone, Default)]
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl std::fmt::Debug for Form {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Form(…)")
    }
}

impl Form {
    /// Reads a body. A parameter without a value is as one that is not there (RFC 6749 §3.2).
    ///
    /// # Errors
    ///
    /// [`OAuthError::InvalidRequest`] when it is no form, or a parameter stands twice: of two readers
    /// one could take the first and the other the last.
    pub fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let text = core::str::from_utf8(body).map_err(|_| WRONG)?;
        let mut parameters: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or(WRONG)?;
            let value = decode(value).ok_or(WRONG)?;
            let stands = parameters.iter().any(|(other, _)| *other == *name);
            if stands && !REPEATABLE.contains(&name.as_str()) {
                return Err(OAuthError::InvalidRequest("a parameter stands twice"));
            }
            if parameters.len() >= MAX_PARAMETERS {
                return Err(OAuthError::InvalidRequest("there are too many parameters"));
            }
            parameters.push((name.to_string(), value));
        }
        Ok(Self(parameters))
    }

    /// A form of these parameters.
    pub fn of(parameters: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Zeroizing::new((*value).to_owned()))
        };
        Self(parameters.iter().map(owned).collect())
    }

    /// The value of a parameter that stands once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter.
    pub fn all<'form>(&'form self, name: &str) -> impl Iterator<Item = &'form str> {
        let named = self.0.iter().filter(move |(other, _)| other == name);
        named.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be there.
    ///
    /// # Errors
    ///
    /// [`OAuthError::InvalidRequest`] with `missing` when it is not.
    pub fn require(&self, name: &str, missing: &'static str) -> Result<&str, OAuthError> {
        self.get(name).ok_or(OAuthError::InvalidRequest(missing))
    }
}

/// What stands in JSON elsewhere; what is missing there is missing here.
impl<'a> FromIterator<(&'a str, Option<String>)> for Form {
    fn from_iter<I: IntoIterator<Item = (&'a str, Option<String>)>>(members: I) -> Self {
        let given =
            |(name, value): (&str, Option<String>)| Some((name.to_owned(), Zeroizing::new(value?)));
        Self(members.into_iter().filter_map(given).collect())
    }
}

const WRONG: OAuthError = OAuthError::InvalidRequest("the body is no form in UTF-8");

/// A name or value as it was before it was put into a form; `None` when it is not UTF-8.
pub(super) fn decode(text: &str) -> Option<Zeroizing<String>> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(Zeroizing::new(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn values_are_decoded_and_empty_ones_are_not_there() {
        let form = Form::parse(b"grant_type=refresh%5Ftoken&scope=a+b%20c&client_id=&x").unwrap();
        assert_eq!(form.get("grant_type"), Some("refresh_token"));
        assert_eq!(form.get("scope"), Some("a b c"));
        assert_eq!((form.get("client_id"), form.get("x")), (None, None));
    }

    #[test]
    fn a_parameter_stands_once_but_for_those_that_name_what_a_token_is_for() {
        assert!(Form::parse(b"scope=a&scope=b").is_err());
        assert!(Form::parse(b"scope=a&scope=").is_err());
        assert!(Form::parse(b"sc%6Fpe=a&scope=b").is_err());
        let form = Form::parse(b"audience=a&audience=b&resource=c").unwrap();
        assert_eq!(form.all("audience").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        assert!(Form::parse(b"a=%FF").is_err());
        assert!(Form::parse(&[b'a', b'=', 0xff]).is_err());
        let many = (0..65).fold(String::new(), |many, index| many + &format!("p{index}=1&"));
        assert!(Form::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn a_dump_shows_no_parameter() {
        assert_eq!(format!("{:?}", Form::parse(b"client_secret=x").unwrap()), "Form(…)");
    }
}
