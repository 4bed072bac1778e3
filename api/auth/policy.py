"""What a password must be. No rules of composition: they make passwords worse (NIST SP 800-63B, 5.1.1.2); length helps."""

SHORTEST, LONGEST = 12, 72
_FIRST_TRIED = """
123456789012 1234567890123 12345678901234 123456789012345 1234567890123456 012345678901 098765432109 111111111111
000000000000 121212121212 123123123123 123412341234 123456123456 112233445566 aaaaaaaaaaaa abcabcabcabc abcdefghijkl
abcdefghijklm abcd1234abcd abcdef123456 abc123abc123 qwertyuiopas qwertyuiop12 qwertyuiop123 qwertyuiop[] 1q2w3e4r5t6y
1qaz2wsx3edc qazwsxedcrfv qwerty123456 qwerty1234567 qwertyqwerty zxcvbnmasdfg asdfghjkl123 asdfasdfasdf
passwordpassword password1234 password12345 password123456 password1234! passw0rd1234 p@ssw0rd1234 passwort1234
passwort12345 mypassword123 newpassword1 changeme1234 changemenow1 changeit1234 letmein12345 letmeinletmein
welcome12345 welcome123456 administrator administrator1 admin1234567 admin12345678 adminadmin12 adminadminadmin
iloveyou1234 iloveyou12345 iloveyouforever iloveyousomuch superman1234 football1234 baseball1234 princess1234
sunshine1234 trustno1trustno1 whateverwhatever correcthorsebatterystaple
secretsecret secret123456 monkeymonkey dragondragon masterpassword testtesttest test12345678 defaultpassword
rootrootroot rootpassword guestguestguest ggnetggnetggnet ggnet1234567
"""
_COMMON = frozenset(_FIRST_TRIED.split()) | {"correct horse battery staple"}


def refusal(password: str, username: str) -> str | None:
    """Why it cannot be one, and what to do; None when it can."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return "holds half a character: send it as UTF-8"
    if size < SHORTEST:
        return f"is too short: take at least {SHORTEST} characters, a sentence for example"
    if size > LONGEST:
        return f"is longer than {LONGEST} bytes, of which bcrypt reads no more: shorten it (an é is 2 bytes)"
    if not password.isprintable():
        return "holds a control character: take those that a keyboard has"
    plain = password.lower()
    if plain == username.lower() or (username and not plain.replace(username.lower(), "")):
        return "is the user name: take something that nobody can guess from it"
    if plain in _COMMON or len(set(plain)) < 3:
        return "is among the first that are tried: take a sentence of your own"
    return None
