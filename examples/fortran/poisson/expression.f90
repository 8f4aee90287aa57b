! Reads an expression in x and y. Generated code contains nothing else that a user typed.
module expression
  implicit none
  private
  public :: to_fortran

  character(*), parameter :: names(*) = [character(4) :: 'x', 'y', 'pi', 'sin', 'cos', 'tan', 'exp', 'log', 'sqrt', &
    'sinh', 'cosh', 'tanh']
  character(*), parameter :: digits = '0123456789', letters = 'abcdefghijklmnopqrstuvwxyz'
contains
  ! Returns the expression in Fortran: without blanks, numbers as real numbers of kind dp, ^ as **. If it is none,
  ! error says why.
  function to_fortran(text, error) result(code)
    character(*), intent(in) :: text
    character(:), allocatable, intent(out) :: error
    character(:), allocatable :: code
    character(:), allocatable :: word
    integer :: at, depth
    logical :: is_exponent
    code = ''
    error = ''
    at = 1
    depth = 0
    is_exponent = .false.
    do while (at <= len_trim(text))
      if (text(at:at) == ' ') then
        at = at + 1
        cycle
      else if (index(digits//'.', text(at:at)) > 0) then
        word = leading(text(at:), digits//'.')
        at = at + len(word)
        if (index(word, '.') /= index(word, '.', back=.true.) .or. word == '.') then
          error = 'this is no number: '//word
        else if (index(word, '.') > 0) then
          word = '0'//word//'_dp'
        else if (.not. is_exponent) then
          word = word//'._dp'
        end if
      else if (index(letters, text(at:at)) > 0) then
        word = leading(text(at:), letters)
        at = at + len(word)
        if (.not. any(names == word)) error = 'this name is not known: '//word
      else if (index('+-*/()^', text(at:at)) > 0) then
        word = text(at:at)
        at = at + 1
        if (word == '(') depth = depth + 1
        if (word == ')') depth = depth - 1
        if (word == '^') word = '**'
        if (depth < 0) error = 'there is no ( for a )'
      else
        error = 'this is no part of an expression: '//text(at:at)
      end if
      if (len(error) > 0) return
      is_exponent = word == '**'
      code = code//word
    end do
    if (depth > 0) error = 'a ) is missing'
    if (len(code) == 0) error = 'it is empty'
  end function

  ! Returns the beginning of a text that consists of these characters.
  function leading(text, characters) result(word)
    character(*), intent(in) :: text, characters
    character(:), allocatable :: word
    integer :: behind
    behind = verify(text, characters)
    word = text
    if (behind > 0) word = text(:behind - 1)
  end function
end module expression
