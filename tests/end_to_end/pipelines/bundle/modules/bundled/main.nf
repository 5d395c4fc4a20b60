process BUNDLED {
    container "${params.image}"

    output:
    stdout

    script:
    '''
    printf 'bundled: %s; greet: %s' "$(cat /etc/lab-image)" "$(greet)"
    '''
}
