"""What a config is written in where it is not UTF-8, guessed from the letters that come out.

The OD API reads a config through `tf.io.gfile.GFile`, which decodes UTF-8 and stops on anything
else, in a comment too. Editors of Windows write the code page of its language (cp949 in Korea,
cp936 in China, cp932 in Japan, cp1251 in Russia, cp1252 in the west), PowerShell's `>` UTF-16.

A text in which bytes are not UTF-8 travels as Python decodes it with `surrogateescape` (PEP 383),
so that nothing of it is lost before somebody looks.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from odapi_repro.errors import ConfigError
from odapi_repro.pipeline.text_tree import all_tokens

# --- Which encoding a text was written in, judged by the letters that come out of its bytes ---


# ruff: noqa: RUF001 - the letters that look like others are what this is about


# What a sensible text reaches, and how far it must lie before the next one, of 1 at most.
_DECENT = 0.5
_CLEARLY = 0.1
_MOST_LINES = 2000
# Of these the first counts where they read alike, as most who write Latin letters have it.
_LATIN = ("cp1252", "cp1250", "cp1254")

# The most frequent letters. Encodings of two bytes a letter share most pairs of bytes, so that a
# text of one decodes in another: as rare letters.
_HANZI = frozenset(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说"
    "产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使"
    "点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明"
    "看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并提直题程展五果料象"
    "员位入常文总次品式活设及管特件长求头基资边流路级少图山统接知较将组见计别手角期根论运指几九区强放"
    "决被做必战先回则任取据处理给色光门即保治造百规热领七海口器金增争油术极交收证改清己再采转更单打白"
    "教速花带安场身车例真务具每目至达走积示议声报完类八离名确才张信马节话整空况今集温传土步深需段研"
    "究观装影算低持音众书布复容须际非验断难近千周委素技备半办列响约般感便团往历市何除构府称准精值号率"
    "族维划选标写存候毛快效院查江型眼王按格养易置派层片始却专状京识适圆包火住调满局照参红细引听该价严"
    "训练测试径像模签检权修录桌户载删添注释批框预默认参数配置备份旧默宽缩裁剪翻滚损失"
)
_HANGUL = frozenset(
    "이다는에을의가고를한하지도로은사기어서나라인자시대리그해보수아일것스만들정으게원부여전장과있제주안상"
    "구비없우치마국조동모소와경관성오신개미식되요세적면문선생러위거용회년내무데분연방공계양발물유출설건"
    "할습니까했던같때또및더작단명반행진역속최심력실금통입현간화본외호점추파강당목업재교노직종결민표율형"
    "저터버테트크드르디프램학클래배폴바탕번변값후델검증경습료량험름론류완료므복붙임각별참셋줄늘열웨훈련"
    "눈높낮증강샘플균등좌표박블폭높너이존님글씩처음째길찾말중차함월확합감초환란규칙예측잘못쓰먼앞뒤옮긴"
    "철수희객체벨맵픽셀앵커징평균온운영홈님박최윤임한홍준민영지현차량번호판얼굴손글씨결함불량"
)
_JAPANESE = frozenset(
    "ぁあぃいぅうぇえぉおかがきぎくぐけげこごさざしじすずせぜそぞただちぢっつづてでとどなにぬねのはばぱひびぴふぶぷ"
    "へべぺほぼぽまみむめもゃやゅゆょよらりるれろわをんァアィイゥウェエォオカガキギクグケゲコゴサザシジスズセゼソゾ"
    "タダチヂッツヅテデトドナニヌネノハバパヒビピフブプヘベペホボポマミムメモャヤュユョヨラリルレロワヲンヴ"
    "日一国人年大十二本中長出三時行見月分後前生五間上東四今金九入学高円子外八六下来気小七山話女北午百"
    "書先名川千水半男西電校語土木聞食車何南万毎白天母火右読友左休父雨会同事自社発者地業方新場員立開手力"
    "問代明動京目通言理体田主題意不作用度強公持野以思家世多正安院心界教文元重近考画海売知道集別物使品計"
    "死特私始朝運終台広住無真有口少町料工建空急止送切転研足究楽起着店病質待試族銀早映親験英医仕去味写字"
    "答夜音注帰古歌買悪図週室歩風紙黒花春赤青館屋色走秋夏習駅洋旅服夕借曜飲肉貸堂鳥飯勉冬昼茶弟牛魚兄犬"
    "妹姉漢像習練検証認識設定値数率変更確全部共有物結果標準対象画面保存元実際次回初期化種類重減太郎佐藤鈴橋伊渡辺村林清翔健"
)
_CYRILLIC, _CYRILLIC_MORE = frozenset("оеаинтсрвл"), frozenset("кмдпуяыьгзбчйхжшюцщэфъё")
_GREEK, _ACCENTED = frozenset("αοιετσςνηράέήίό"), frozenset("άέήίόύώΐΰ")
_GREEK_MORE = frozenset("βγδζθκλμξπυφχψωύώϊϋΐΰ")
_WESTERN = frozenset("àâäãáåæçéèêëíìîïñóòôöõøœúùûüß")
_CENTRAL = frozenset("áäčćçďéěëęíľłńňóôőöřśšşťúůűüýźžżą")
_TURKISH = frozenset("çğıöşüâîûİ")
_ALONE = frozenset("àáâäåéèêíóöüúùœı")  # words of one letter
#: Typed marks that an encoding of one byte a letter has.
MARKS = frozenset("–—‘’“”„…«»°±×·•µ²³½€£§©®¡¿")
_WIDE_MARKS = frozenset("、。，：；！？（）「」『』【】《》“”‘’…—～·ー・％　")


def guess_encoding(lines: Sequence[bytes]) -> str:
    """Gives the encoding whose letters look most like somebody's; nothing where that is not clear.

    The score is the mean over all letters that are not ASCII, 1 for those that are frequent and
    stand where they may. Encodings that read the same are one.
    """
    sample = b"\n".join(lines[:_MOST_LINES])
    scores: dict[str, tuple[float, str]] = {}
    for encoding, judge in _JUDGES.items():
        try:
            read = sample.decode(encoding)
            b"\n".join(lines[_MOST_LINES:]).decode(encoding)
        except UnicodeDecodeError:
            continue
        marks = list(judge(read))
        if marks and read not in scores:
            scores[read] = (sum(marks) / len(marks), encoding)
    ranked = sorted(scores.values(), key=lambda one: -one[0])
    if not ranked or ranked[0][0] < _DECENT:
        return ""
    best, encoding = ranked[0]
    others = [one for one in ranked[1:] if not (encoding in _LATIN and one[1] in _LATIN)]
    return encoding if not others or best - others[0][0] >= _CLEARLY else ""


def _judge_wide(common: frozenset[str], is_usual: Callable[[str], bool]) -> _Judge:
    """A judge of an encoding of two bytes a letter, which never stands within an ASCII word."""

    def judge(text: str) -> Iterator[float]:
        for letter in text:
            if letter.isascii():
                continue
            if letter in _WIDE_MARKS:
                yield 0.7
            elif letter in common:
                yield 1.0
            else:
                yield 0.3 if is_usual(letter) else -1.0

    return judge


def _is_hangul(letter: str) -> bool:
    """Whether it is one of the 2,350 syllables of KS X 1001, which all but a few words need."""
    if not "가" <= letter <= "힣":
        return False
    try:
        return len(letter.encode("euc_kr")) == 2
    except UnicodeEncodeError:
        return False


def _is_hanzi(letter: str) -> bool:
    """Whether it is one of the 3,755 usual ones of GB 2312, level 1."""
    try:
        first = letter.encode("gb2312")[0]
    except UnicodeEncodeError:
        return False
    return 0xB0 <= first <= 0xD7


def _is_japanese(letter: str) -> bool:
    """Whether it is a kanji of JIS X 0208, level 1."""
    try:
        code = letter.encode("shift_jis")
    except UnicodeEncodeError:
        return False
    return len(code) == 2 and b"\x88\x9f" <= code <= b"\x98\x72"


def _judge_letters(
    common: frozenset[str], others: frozenset[str], accents: frozenset[str] = frozenset()
) -> _Judge:
    """A judge of an alphabet of its own, which no word mixes with the Latin one.

    Where there are accents, no word of three letters or more goes without.
    """

    def judge(text: str) -> Iterator[float]:
        for word in re.findall(r"[^\W\d_]+|[^\x00-\x7f]", text):
            if word.isascii():
                continue
            bare = bool(accents) and len(word) > 2 and not accents & set(word.lower())
            cased = word.islower() or word.istitle() or word.isupper()
            for letter in word:
                if letter in MARKS or letter == "№":
                    yield 0.6
                elif letter.isascii() or not cased or bare or len(word) == 1:
                    yield -1.0 if letter.isascii() else 0.3
                elif letter.lower() in common:
                    yield 0.8 if word.isupper() else 1.0
                else:
                    yield 0.35 if letter.lower() in others else -0.5

    return judge


def _judge_latin(common: frozenset[str], weight: float) -> _Judge:
    """A judge of accents, which stand one by one within words of ASCII letters."""

    def judge(text: str) -> Iterator[float]:
        for word in re.findall(r"[^\W\d_]+|[^\x00-\x7f]", text):
            for at, letter in enumerate(word):
                if letter.isascii():
                    continue
                beside = [one for one in word[max(at - 1, 0) : at + 2] if not one.isascii()]
                inside_lower = at > 0 and word[at - 1].islower() and letter.isupper()
                if letter in MARKS:
                    yield 0.6
                elif letter.lower() not in common and letter not in common:
                    yield -0.5
                elif len(word) == 1 and letter.lower() not in _ALONE:
                    yield 0.2
                elif inside_lower or (len(word) > 1 and not any(map(str.isascii, word))):
                    yield -1.0  # no word is made of accents alone
                else:
                    yield weight * (1.0, 0.6, 0.2)[len(beside) - 1]

    return judge


_Judge = Callable[[str], Iterator[float]]
# The western one first where several read alike; most who write Latin letters have it.
_JUDGES: dict[str, _Judge] = {
    "cp1252": _judge_latin(_WESTERN, 1.0),
    "cp1250": _judge_latin(_CENTRAL, 0.95),
    "cp1254": _judge_latin(_TURKISH, 0.95),
    "cp1251": _judge_letters(_CYRILLIC, _CYRILLIC_MORE),
    "cp1253": _judge_letters(_GREEK, _GREEK_MORE, _ACCENTED),
    "cp949": _judge_wide(_HANGUL, _is_hangul),
    "cp936": _judge_wide(_HANZI, _is_hanzi),
    "cp932": _judge_wide(_JAPANESE, _is_japanese),
}


# --- What a config is written in where it is not UTF-8, guessed from the letters that come out ---


_ESCAPED = re.compile("[\udc80-\udcff]")
_LETTERS = ("string", "comment")  # where letters of the user's may stand
# A comment in another encoding has fewer bytes that are not UTF-8, a binary has more.
_MOST_UNDECODABLE = 0.05
_MOST_FOREIGN = 0.5
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@dataclass(frozen=True)
class NotUtf8:
    """A text that is not UTF-8.

    Attributes:
        line: of the first byte that is not, from 1.
        column: of that byte in its line, in bytes from 1.
        offset: of that byte in the file, from 0.
        byte: its value.
        lines: lines that are not UTF-8.
        encoding: what the file was probably written in, as Python and iconv name it; empty where
            nothing fits, or two fit alike.
        text: as that encoding reads it; without a guess, with U+FFFD for what is not UTF-8.
        sample: the line, as it is read.
        stray: whether no encoding fits and none is needed, because the bytes stand outside of texts
            and comments; `text` goes without them.
    """

    line: int
    column: int
    offset: int
    byte: int
    lines: int
    encoding: str
    text: str
    sample: str
    stray: bool = False

    @property
    def place(self) -> str:
        """Where the first byte stands, in words."""
        return f"byte {self.column} of line {self.line} (0x{self.byte:02x}, byte {self.offset})"

    @property
    def guess(self) -> str:
        """What the encoding is taken for, in words."""
        if self.stray:
            return "no letter of a text or a comment"
        if not self.encoding:
            return "what it is written in is not clear"
        return f"it is probably {self.encoding}"

    def refusal(self, path: str) -> ConfigError:
        """Gives the error of a command that needs UTF-8."""
        return ConfigError(
            f"not UTF-8, at which the OD API stops: {self.place}; {self.guess}",
            expected="a text in UTF-8",
            mend=self.mend(path),
            where=f"{path}:{self.line}:{self.column}",
        )

    def mend(self, path: str) -> str:
        """Gives what to type to have the file in UTF-8."""
        path = "-" if path == "<stdin>" else path
        if self.encoding or self.stray:
            return f"python -m odapi_repro.fix {path} rewrites it in UTF-8, or save it as UTF-8"
        return f"save it as UTF-8 in an editor, or: iconv -f ENCODING -t UTF-8 {path}"


def look_at_encoding(text: str) -> NotUtf8 | None:
    """Gives where a text is not UTF-8, and its likeliest encoding; None for one that is.

    `text` was decoded from UTF-8 with `surrogateescape`. Lines are judged one by one: those that
    are UTF-8 are read as such, whatever the others are.
    """
    first = None if text.isascii() else _ESCAPED.search(text)
    if first is None:
        return None
    start = text.rfind("\n", 0, first.start()) + 1
    before = text[: first.start()].encode("utf-8", "surrogateescape")
    lines = text.split("\n")
    foreign = [number for number, line in enumerate(lines) if _ESCAPED.search(line)]
    stray = False
    encoding, decoded = _utf_16(text)
    if decoded is None:
        encoding, stray = _guess_or_stray([lines[number] for number in foreign])
        for number in foreign:
            read = _bytes(lines[number])
            lines[number] = read.decode(encoding or "utf-8", "ignore" if stray else "replace")
    whole = decoded if decoded is not None else "\n".join(lines)
    at = text.count("\n", 0, first.start())
    return NotUtf8(
        line=at + 1,
        column=len(text[start : first.start()].encode("utf-8")) + 1,
        offset=len(before),
        byte=ord(first.group()) - 0xDC00,
        lines=len(foreign),
        encoding=encoding,
        text=whole,
        sample=whole.split("\n", at + 1)[at].strip() if decoded is None else "",
        stray=stray,
    )


def reads_as_text(found: NotUtf8, characters: int) -> bool:
    """Whether what is not UTF-8 is a text all the same, rather than a binary."""
    if "\0" in found.text:
        return False
    if found.encoding:
        return True
    missing = characters - len(found.text) if found.stray else found.text.count("\ufffd")
    return missing <= _MOST_UNDECODABLE * characters


def _guess_or_stray(lines: Sequence[str]) -> tuple[str, bool]:
    """Gives the encoding of lines that are not UTF-8, or that none is needed.

    Outside of texts and comments only typed quotation marks make sense.
    """
    encoding = guess_encoding([_bytes(line) for line in lines])
    said = (one.text for line in lines for one in all_tokens(line) if one.kind in _LETTERS)
    if any(map(_ESCAPED.search, said)):
        return encoding, False
    read = "".join(_bytes(line).decode(encoding or "utf-8", "ignore") for line in lines)
    if encoding and all(letter.isascii() or letter in MARKS for letter in read):
        return encoding, False
    return "", True


def _bytes(line: str) -> bytes:
    return line.encode("utf-8", "surrogateescape")


def _utf_16(text: str) -> tuple[str, str | None]:
    """Gives the form of UTF-16 that a byte order mark names, and the text; None for no such text.

    A binary may begin like a mark by chance; a config is mostly ASCII.
    """
    encoding = _UTF_16.get(_bytes(text[:2]) if _ESCAPED.match(text) else b"", "")
    try:
        decoded = _bytes(text)[2:].decode(encoding) if encoding else ""
    except UnicodeDecodeError:
        return "", None
    usual = sum(letter.isascii() for letter in decoded)
    is_text = bool(encoding) and "\0" not in decoded and usual >= _MOST_FOREIGN * len(decoded)
    return (encoding, decoded) if is_text else ("", None)
